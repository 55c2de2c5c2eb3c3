"""Where the bytes of an ONNX file go, and what its constants take once a runtime has loaded it.

Every tensor of the file belongs to one kind:

    bit masks                which weights are not zero, one bit each
    non-zero weights         the weights behind a bit mask, without their zeros
    indices                  which entry of its codebook each weight is
    codebooks                the values that indices stand for
    packed integers          integer weights in the bits that they need
    scales and zero points   what QuantizeLinear and DequantizeLinear read beside the integers
    float32 tensors, ...     weights and biases as they are, by their type
    graph                    the rest: operators, names, shapes, and the int64 numbers that operators take
"""

from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import onnx
from onnx import NodeProto, TensorProto, helper
from onnx.external_data_helper import uses_external_data

from tinyml.graph.onnx_graphs import graphs
from tinyml.graph.packed_weights import CODEBOOK_SUFFIX, INDICES_SUFFIX, MASK_SUFFIX, NONZEROS_SUFFIX
from tinyml.measure.measurement import Measurement
from tinyml.measure.network import Network

MASKS: Final = "bit masks"
NONZEROS: Final = "non-zero weights"
INDICES: Final = "indices"
CODEBOOKS: Final = "codebooks"
INTEGERS: Final = "packed integers"
SCALES: Final = "scales and zero points"
GRAPH: Final = "graph"
_QUANTIZERS: Final = ("QuantizeLinear", "DequantizeLinear")
_OF_PARTS: Final = {
    MASK_SUFFIX: MASKS, NONZEROS_SUFFIX: NONZEROS, INDICES_SUFFIX: INDICES, CODEBOOK_SUFFIX: CODEBOOKS,
}  # fmt: skip


def bytes_by_kind(network: Network, file_bytes: int) -> dict[str, int]:
    """Return the bytes of each kind of content, the graph last; they add up to `file_bytes`, the size of all files."""
    kinds, ledger = _kinds(network), Counter[str]()
    for tensor in stored_tensors(network.path):
        if kind := kinds.get(tensor.name) or _kind(tensor):
            ledger[kind] += _payload_bytes(network, tensor)
    return {**ledger, GRAPH: file_bytes - ledger.total()}


def loaded_bytes(network: Network) -> Measurement:
    """Return the bytes of the constants that a runtime holds while it runs the file, by their shapes and types.

    What is computed from constants alone is computed once, when the file is loaded. Integers behind DequantizeLinear
    stay integers. What a runtime's kernels arrange anew for their own use is not in it.
    """
    held = dict.fromkeys(name for node in network.nodes() for name in _read_when_run(network, node))
    unknown = tuple(name for name in held if name not in network.types)
    return Measurement(
        metric="loaded_bytes",
        value=sum(network.types[name].size_bytes for name in held if name in network.types),
        unit="bytes",
        details={"tensors": len(held) - len(unknown)},
        not_counted=tuple(f"'{name}' (shape unknown)" for name in unknown),
    )


def stored_tensors(path: Path) -> Iterator[TensorProto]:
    """Yield every initializer of a file, those of subgraphs too; external data is not read."""
    for graph in graphs(onnx.load(path, load_external_data=False).graph):
        yield from graph.initializer


def _kinds(network: Network) -> dict[str, str]:
    """Return the kind of every tensor that its reader, or the weight that it is a part of, gives away."""
    kinds: dict[str, str] = {}
    for node in network.nodes():
        if node.op_type in _QUANTIZERS:
            kinds |= dict.fromkeys(node.input[1:], SCALES)
        for name in node.output:
            parts = network.constants.parts(name)
            kinds |= {part: _OF_PARTS[part.removeprefix(name)] for part in parts}
            if f"{name}{INDICES_SUFFIX}" in parts and f"{name}{CODEBOOK_SUFFIX}" not in parts:
                kinds |= {f"{name}{INDICES_SUFFIX}": INTEGERS, node.input[0]: INTEGERS}  # and their table
    return kinds


def _kind(tensor: TensorProto) -> str:
    """Return the kind that a tensor belongs to by its type; "" for what belongs to the graph."""
    if tensor.data_type in (TensorProto.INT64, TensorProto.BOOL):
        return ""
    return f"{helper.tensor_dtype_to_np_dtype(tensor.data_type).name} tensors"


def _payload_bytes(network: Network, tensor: TensorProto) -> int:
    """Return the bytes of a tensor's values in the file, or in the file of its external data."""
    if uses_external_data(tensor):
        return network.types[tensor.name].size_bytes
    if tensor.HasField("raw_data"):
        return len(tensor.raw_data)
    head = TensorProto(dims=tensor.dims, data_type=tensor.data_type, name=tensor.name)
    return int(tensor.ByteSize() - head.ByteSize())


def _read_when_run(network: Network, node: NodeProto) -> Iterator[str]:
    """Yield the constants that a node reads on every run; of a dequantized one, the integers and their scales."""
    if not all(map(network.is_constant, node.output)):
        for name in filter(network.is_constant, node.input):
            maker = network.producer(name)
            yield from maker.input if maker is not None and maker.op_type == "DequantizeLinear" else (name,)
