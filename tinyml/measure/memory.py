"""Peak activation memory of an ONNX file for one input: estimated from the lives of its tensors.

The graph is walked in the order of the file. A tensor lives from the node that makes it to the last that reads it; the
peak is the most bytes alive at once, the input and the output included. What is stored, and in which type, says
`tinyml.measure.storage`; beyond that, elementwise operators write into the memory of an input of the same size that
nobody reads after them.

Not in it: weights, packed copies of weights, scratch memory of convolutions, and the runtime itself. Of an If, the
branch that takes most counts.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import final

from onnx.onnx_ml_pb2 import GraphProto

from tinyml.graph.onnx_graphs import subgraphs
from tinyml.measure.measurement import Measurement
from tinyml.measure.network import Network
from tinyml.measure.operators import OVERWRITES_AN_INPUT
from tinyml.measure.storage import Storage


@final
@dataclass(frozen=True, kw_only=True)
class Peak:
    """The most activation bytes alive at once.

    Attributes:
        size_bytes: how many.
        node: the node during which they are.
        unknown: tensors that are left out since their shape is not known.
    """

    size_bytes: int
    node: str
    unknown: tuple[str, ...]


def peak_activation_bytes(network: Network) -> Measurement:
    """Return the estimated peak activation memory for one input."""
    peak = find_peak(network)
    return Measurement(
        metric="peak_activation_bytes",
        value=peak.size_bytes,
        unit="bytes",
        details={"at_node": peak.node},
        not_counted=tuple(f"tensor '{name}' (shape unknown)" for name in peak.unknown),
        estimated=True,
    )


def find_peak(network: Network) -> Peak:
    """Return the most activation bytes alive at once, and where."""
    unknown: dict[str, None] = {}
    size, node = _walk(network, network.graph, network.inputs, Storage(network), unknown)
    return Peak(size_bytes=size, node=node, unknown=tuple(unknown))


def _walk(
    network: Network, graph: GraphProto, inputs: Sequence[str], stored: Storage, unknown: dict[str, None]
) -> tuple[int, str]:
    """Return the peak of one graph and the name of its node; fill `unknown`."""
    last = _last_reads(graph, stored)
    alive = {stored(name): _size(network, stored(name), unknown) for name in inputs}
    peak, where = sum(alive.values()), "(input)"
    for index, node in enumerate(graph.node):
        if all(network.is_constant(name) for name in node.output if name):
            continue
        made = {stored(name): _size(network, stored(name), unknown) for name in node.output if name}
        fresh = {name: size for name, size in made.items() if name not in alive}
        dying = {stored(name) for name in node.input if last.get(stored(name)) == index} & alive.keys()
        overwritten = 0
        if node.op_type in OVERWRITES_AN_INPUT:
            overwritten = next((size for size in fresh.values() if size in [alive[name] for name in dying]), 0)
        inner = max((_walk(network, branch, (), stored, unknown)[0] for branch in subgraphs(node)), default=0)
        now = sum(alive.values()) + sum(fresh.values()) - overwritten + inner
        if now > peak:
            peak, where = now, node.name or node.output[0]
        alive |= fresh
        for name in [name for name in alive if last.get(name, index) <= index]:
            del alive[name]
    return peak, where


def _last_reads(graph: GraphProto, stored: Storage) -> dict[str, int]:
    """Return the index of the last node that reads or makes each stored tensor; outputs are read after all."""
    last: dict[str, int] = {}
    for index, node in enumerate(graph.node):
        captured = [name for inner in subgraphs(node) for branch in inner.node for name in branch.input]
        for name in (*node.input, *node.output, *captured):
            last[stored(name)] = index
    for entry in graph.output:
        last[stored(entry.name)] = len(graph.node)
    return last


def _size(network: Network, name: str, unknown: dict[str, None]) -> int:
    """Return the bytes of a tensor; 0, and a note in `unknown`, where its shape is not known."""
    if name in network.types:
        return network.types[name].size_bytes
    unknown[name] = None
    return 0
