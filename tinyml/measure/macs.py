"""Multiply-adds of an ONNX file for one input; one multiply-add is one.

The rule is that of `torch.utils.flop_counter`, halved: convolutions and matrix products count, nothing else does.

    Conv            elements of the output x C_in / group x kernel
    ConvTranspose   elements of the input  x C_out / group x kernel
    Gemm, MatMul    elements of the output x length of the sum

The quantized forms count alike. Of an If, the costliest branch counts (`details` has the cheapest way through); of a
network with exits whose examples were seen to leave, the mean over them. Bias,
BatchNorm, pooling, activations and the moving of data are no multiply-adds under this rule. An operator that might
multiply and that this file does not know is listed in `not_counted`, as is one whose shapes are not known.
"""

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from math import prod
from typing import Final, final

import numpy as np
from numpy.typing import NDArray
from onnx.onnx_ml_pb2 import NodeProto

from tinyml.graph.onnx_graphs import subgraphs
from tinyml.measure.measurement import Measurement
from tinyml.measure.network import Network
from tinyml.measure.operators import WITHOUT_MULTIPLY_ADDS
from tinyml.measure.pooling import is_pooling

# operator -> index of the weight among the inputs
_CONVOLUTIONS: Final = {"Conv": 1, "FusedConv": 1, "ConvInteger": 1, "QLinearConv": 3}
_TRANSPOSED: Final = {"ConvTranspose": 1}
_PRODUCTS: Final = {
    "MatMul": 1, "Gemm": 1, "FusedMatMul": 1, "FusedGemm": 1, "MatMulInteger": 1, "QLinearMatMul": 3, "QGemm": 3,
    "MatMulIntegerToFloat": 1, "DynamicQuantizeMatMul": 1, "GemmFloat8": 1,
}  # fmt: skip


@final
@dataclass(frozen=True, kw_only=True)
class MacCount:
    """What was counted.

    Attributes:
        worst: multiply-adds by the costliest way through the graph.
        best: multiply-adds by the cheapest way.
        by_node: multiply-adds of a node, by the name of its first output; those of all branches.
        not_counted: "Einsum (2 nodes)", "Conv 'node_7' (shape unknown)".
    """

    worst: int
    best: int
    by_node: dict[str, int] = field(default_factory=dict)
    not_counted: tuple[str, ...] = ()


def macs(network: Network, taken: NDArray[np.int64] | None = None) -> Measurement:
    """Return the multiply-adds of the network for one input.

    Args:
        network: the graph.
        taken: the exit (N,) at which each example leaves; the mean over them is returned then, and `details` have the
            costliest way and what each exit costs.
    """
    count = count_macs(network)
    if taken is not None:
        by_exit = macs_by_exit(network)
        examples = np.bincount(taken, minlength=len(by_exit)).tolist()
        total = sum(cost * number for cost, number in zip(by_exit, examples, strict=True))
        return Measurement(
            metric="macs",
            value=total / len(taken),
            unit="MACs",
            n=len(taken),
            details={
                "rule": "conv-linear",
                "worst": count.worst,
                **{f"exit_{index}": cost for index, cost in enumerate(by_exit)},
            },
            not_counted=count.not_counted,
        )
    branches = {"least_with_branches": count.best} if count.best != count.worst else {}
    return Measurement(
        metric="macs",
        value=count.worst,
        unit="MACs",
        details={"rule": "conv-linear", **branches},
        not_counted=count.not_counted,
    )


def count_macs(network: Network) -> MacCount:
    """Return the multiply-adds of the network for one input, in all and by node."""
    by_node: dict[str, int] = {}
    unknown: list[str] = []
    worst, best = _count(network, network.graph.node, by_node, unknown)
    listed = tuple(
        entry if times == 1 else f"{entry} ({times} nodes)" for entry, times in sorted(Counter(unknown).items())
    )
    return MacCount(worst=worst, best=best, by_node=by_node, not_counted=listed)


def macs_by_exit(network: Network) -> tuple[int, ...]:
    """Return the multiply-adds up to each exit of a network that holds its stages in nested Ifs, the last its end.

    Every stage but the first is the else branch of the If behind the one before it.
    """
    by_node = count_macs(network).by_node
    total, found, graph = 0, list[int](), [network.graph]
    while graph:
        stage = graph.pop()
        total += sum(by_node.get(node.output[0], 0) for node in stage.node if node.output)
        found.append(total)
        graph += [branch.g for node in stage.node for branch in node.attribute if branch.name == "else_branch"][:1]
    return tuple(found)


def _count(
    network: Network, nodes: Iterable[NodeProto], by_node: dict[str, int], unknown: list[str]
) -> tuple[int, int]:
    """Return the most and the fewest multiply-adds of a list of nodes; fill `by_node` and `unknown`."""
    worst = best = 0
    for node in nodes:
        if node.op_type == "If":
            ways = [_count(network, graph.node, by_node, unknown) for graph in subgraphs(node)]
            worst += max((most for most, _ in ways), default=0)
            best += min((fewest for _, fewest in ways), default=0)
        elif (found := node_macs(network, node)) is not None:
            worst += found
            best += found
            by_node[node.output[0]] = found
        elif node.op_type in _CONVOLUTIONS | _TRANSPOSED | _PRODUCTS:
            unknown.append(f"{node.op_type} '{node.name or node.output[0]}' (shape unknown)")
        elif node.op_type not in WITHOUT_MULTIPLY_ADDS and not all(map(network.is_constant, node.output)):
            unknown.append(f"{node.domain}.{node.op_type}" if node.domain else node.op_type)
    return worst, best


def node_macs(network: Network, node: NodeProto) -> int | None:
    """Return the multiply-adds of one convolution or product; None for other operators and where shapes are unknown.

    A product of two constants is computed when the file is loaded and costs nothing; a convolution that is average
    pooling counts as pooling.
    """
    kinds = _CONVOLUTIONS | _TRANSPOSED | _PRODUCTS
    if node.op_type not in kinds:
        return None
    if network.is_constant(node.output[0]) or is_pooling(network, node):
        return 0
    data = network.types.get(node.input[0])
    weight = network.types.get(node.input[kinds[node.op_type]])
    output = network.types.get(node.output[0])
    if data is None or weight is None or output is None:
        return None
    if node.op_type in _TRANSPOSED:
        return data.elements * prod(weight.shape[1:])
    if node.op_type in _CONVOLUTIONS:
        return output.elements * prod(weight.shape[1:])
    transposed = any(entry.name == "transA" and entry.i for entry in node.attribute)
    return output.elements * data.shape[0 if transposed else -1]
