"""What each layer of an ONNX file costs: shape, parameters, MACs, activation bytes, and the time it really took."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Final, final

from onnx.onnx_ml_pb2 import NodeProto

from tinyml.data.task import Task
from tinyml.graph.onnx_graphs import subgraphs
from tinyml.measure.inputs import input_stream
from tinyml.measure.macs import count_macs
from tinyml.measure.network import Network, read_network
from tinyml.measure.operators import FUSED_OR_IN_PLACE
from tinyml.measure.parameters import node_parameters
from tinyml.measure.storage import Storage
from tinyml.measure.under_way import failures_under_way
from tinyml.runtime.node_profile import NodeTime, RuntimeProfile, original_names, profile_nodes
from tinyml.runtime.session import CPU, open_session

_QUANTIZERS: Final = ("QuantizeLinear", "DequantizeLinear")


@final
@dataclass(frozen=True, kw_only=True)
class Layer:
    """A node of the file.

    Attributes:
        name: of the node; of its first output, where it has none.
        operator: in the file.
        output_shape: of its first output for batch 1; () where shape inference did not find it.
        parameters: learned numbers that it uses; what two layers share is counted at the first.
        macs: multiply-adds for one input.
        activation_bytes: bytes of its outputs as `tinyml.measure.storage` says that they are stored: quantized, where
            nothing but QuantizeLinear reads them.
        runs_as: operators that the runtime ran for it ("QLinearConv"); empty where it is part of another's kernel.
        latency_ms: median time of those; 0 where it is part of another's.
        runs: number of runs that came to it: fewer than all in a branch of an If; 0 where it is part of another's.
    """

    name: str
    operator: str
    output_shape: tuple[int, ...]
    parameters: int
    macs: int
    activation_bytes: int
    runs_as: str = ""
    latency_ms: float = 0.0
    runs: int = 0


@final
@dataclass(frozen=True, kw_only=True)
class Profile:
    """What the layers of a file cost.

    Attributes:
        path: the file.
        layers: in the order of the file; nodes that prepare constants, quantizers that cost nothing, and an If, whose
            branches are there, are left out.
        unattributed: nodes that ran and belong to no node of the file: changes of memory layout, mostly.
        run_ms: median of a whole run under the profile.
        not_counted: what the MACs leave out.
        threads: threads inside an operator.
        provider: execution provider.
    """

    path: Path
    layers: tuple[Layer, ...]
    unattributed: tuple[NodeTime, ...]
    run_ms: float
    not_counted: tuple[str, ...]
    threads: int
    provider: str

    def to_json(self) -> dict[str, object]:
        """Return the profile as JSON values."""
        return asdict(self) | {"path": str(self.path)}


def profile_file(
    path: Path,
    *,
    task: Task | None = None,
    input_shape: tuple[int, ...] = (),
    provider: str = CPU,
    threads: int = 1,
    runs: int = 100,
    seed: int = 0,
) -> Profile:
    """Return what each layer of an ONNX file costs for one input.

    Args:
        path: the file.
        task: where the inputs come from; random numbers without.
        input_shape: shape of one input without the batch, for dimensions that the file leaves open.
        provider: onnxruntime's execution provider.
        threads: threads inside an operator.
        runs: how often the network is run for the times.
        seed: of the inputs drawn.

    Raises:
        CheckpointError, TargetError, DataError, UsageError, TinymlError: as `tinyml.measure.measure_files`.
    """
    network = read_network(path, input_shape)
    session = open_session(path, provider=provider, threads=threads)
    inputs = input_stream(session, task=task, input_shape=input_shape, batch=1, seed=seed)
    session.run(inputs[0])
    with failures_under_way():
        times = profile_nodes(path, inputs, runs=runs, provider=provider, threads=threads)
    return describe_layers(network, times, threads=threads, provider=provider)


def describe_layers(network: Network, times: RuntimeProfile, *, threads: int, provider: str) -> Profile:
    """Return the layers of a network with the times of the runtime's nodes laid to them."""
    count = count_macs(network)
    by_layer, unattributed = _attribute(network, times)
    stored = Storage(network)
    counted: set[str] = set()
    layers = []
    for node in network.nodes():
        ran = by_layer.get(node.output[0], ())
        if network.is_constant(node.output[0]) or subgraphs(node) or (node.op_type in _QUANTIZERS and not ran):
            continue
        kind = network.types.get(node.output[0])
        layers.append(
            Layer(
                name=node.name or node.output[0],
                operator=node.op_type,
                output_shape=kind.shape if kind else (),
                parameters=_new_parameters(network, node, counted),
                macs=count.by_node.get(node.output[0], 0),
                activation_bytes=stored.size_bytes(node),
                runs_as="+".join(dict.fromkeys(entry.operator for entry in ran)),
                latency_ms=sum(entry.median_ms for entry in ran),
                runs=max((entry.runs for entry in ran), default=0),
            )
        )
    return Profile(
        path=network.path, layers=tuple(layers), unattributed=unattributed, run_ms=times.run_ms,
        not_counted=count.not_counted, threads=threads, provider=provider,
    )  # fmt: skip


def _attribute(
    network: Network, times: RuntimeProfile
) -> tuple[Mapping[str, tuple[NodeTime, ...]], tuple[NodeTime, ...]]:
    """Return the runtime's nodes by the first output of the file's node they come from, and those without one."""
    names: dict[str, NodeProto] = {}
    for node in network.nodes():
        if not network.is_constant(node.output[0]):
            names.update((name, node) for name in node.output if name)
    names |= {node.name: node for node in network.nodes() if node.name}
    by_layer: dict[str, tuple[NodeTime, ...]] = {}
    unattributed = []
    for entry in times.nodes:
        found = next((names[name] for name in original_names(entry.name) if name in names), None)
        if found is None:
            unattributed.append(entry)
        else:
            key = _origin(network, found, entry.operator).output[0]
            by_layer[key] = (*by_layer.get(key, ()), entry)
    return by_layer, tuple(unattributed)


def _origin(network: Network, node: NodeProto, operator: str) -> NodeProto:
    """Return the node of this operator among `node` and what was fused in front of it; else `node`.

    A convolution that took in the Relu behind it is called after the Relu's output.
    """
    wanted = operator.removeprefix("QLinear").removeprefix("Fused").removeprefix("Q")
    waiting, seen = [node], {node.output[0]}
    while waiting:
        current = waiting.pop(0)
        if current.op_type == wanted:
            return current
        if current.op_type in FUSED_OR_IN_PLACE or current.op_type == "Add":
            makers = [network.producer(name) for name in current.input if name and not network.is_constant(name)]
            fresh = [maker for maker in makers if maker is not None and maker.output[0] not in seen]
            seen |= {maker.output[0] for maker in fresh}
            waiting += fresh
    return node


def _new_parameters(network: Network, node: NodeProto, counted: set[str]) -> int:
    """Return how many parameters of a node no earlier node had; add their tensors to `counted`."""
    total = 0
    for stored, (elements, _) in node_parameters(network, node):
        if stored not in counted:
            counted.add(stored)
            total += elements
    return total
