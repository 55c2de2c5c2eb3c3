"""Parameters of an ONNX file: how many there are, and how many are not zero.

What counts is what an operator uses as a learned tensor, whatever its type in the file:

- weight and bias of convolutions, matrix products and normalisations, slopes of PRelu, tables that are looked up;
- constants added to or multiplied with an activation element by element, if they have more than one element.

A weight that is stored in another form (int8 behind DequantizeLinear, indices into a codebook) counts as the tensor
that it becomes: one parameter a weight. A tensor used twice counts once. Not parameters: scales and zero points,
codebooks, running means and variances, shapes, axes, and the normalisation of the input before the first layer. A
BatchNorm that was folded counts as the bias that it became.
"""

from collections.abc import Iterator
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from onnx.onnx_ml_pb2 import NodeProto

from tinyml.measure.measurement import Measurement
from tinyml.measure.network import Network
from tinyml.measure.pooling import is_pooling

# operator -> inputs that hold parameters where they are constant
_PARAMETER_INPUTS: Final[dict[str, tuple[int, ...]]] = {
    "Conv": (1, 2), "FusedConv": (1, 2), "ConvTranspose": (1, 2), "ConvInteger": (1,), "QLinearConv": (3, 8),
    "Gemm": (0, 1, 2), "MatMul": (0, 1), "MatMulInteger": (0, 1), "QLinearMatMul": (0, 3), "QGemm": (0, 3, 6),
    "FusedMatMul": (0, 1), "FusedGemm": (0, 1, 2),
    "BatchNormalization": (1, 2), "InstanceNormalization": (1, 2), "LayerNormalization": (1, 2),
    "GroupNormalization": (1, 2), "RMSNormalization": (1,), "PRelu": (1,), "Gather": (0,), "Einsum": (0, 1),
    "LSTM": (1, 2, 3), "GRU": (1, 2, 3), "RNN": (1, 2, 3),
}  # fmt: skip
_ELEMENTWISE: Final = {"Add": (0, 1), "Sub": (0, 1), "Mul": (0, 1), "Div": (0, 1)}
# the zero point of a quantized operator's weight, by the weight's place
_ZERO_POINTS: Final = {("QLinearConv", 3): 5, ("ConvInteger", 1): 3, ("MatMulInteger", 1): 3,
                       ("QLinearMatMul", 3): 5, ("QGemm", 3): 5}  # fmt: skip


def parameters(network: Network) -> Measurement:
    """Return the number of parameters."""
    counts = count_parameters(network)
    return Measurement(
        metric="parameters", value=sum(total for total, _ in counts.values()), unit="parameters",
        details={"tensors": len(counts)},
    )  # fmt: skip


def parameters_nonzero(network: Network) -> Measurement:
    """Return the number of parameters whose value is not zero, whatever the file stores for it."""
    counts = count_parameters(network)
    return Measurement(
        metric="parameters_nonzero", value=sum(nonzero for _, nonzero in counts.values()), unit="parameters",
        details={"tensors": len(counts)},
    )  # fmt: skip


def count_parameters(network: Network) -> dict[str, tuple[int, int]]:
    """Return how many parameters there are and how many are not zero, by the stored tensor they come from."""
    counts: dict[str, tuple[int, int]] = {}
    for node in network.nodes():
        for stored, count in node_parameters(network, node):
            counts.setdefault(stored, count)
    return counts


def node_parameters(network: Network, node: NodeProto) -> Iterator[tuple[str, tuple[int, int]]]:
    """Yield for each parameter tensor of a node: the stored tensor it comes from, its elements and those not zero."""
    if is_pooling(network, node):
        return
    if all(network.is_constant(name) for name in node.output):
        return  # it prepares a weight (a lookup in a codebook): what uses the result counts
    places = _PARAMETER_INPUTS.get(node.op_type, ())
    if node.op_type in _ELEMENTWISE and not _prepares_input(network, node):
        places = _ELEMENTWISE[node.op_type]
    for place in places:
        name = node.input[place] if place < len(node.input) else ""
        if not name or not network.is_constant(name):
            continue
        value = network.value(name)
        if node.op_type in _ELEMENTWISE and value.size == 1:
            continue
        zero_place = _ZERO_POINTS.get((node.op_type, place), len(node.input))
        zero = node.input[zero_place] if zero_place < len(node.input) else ""
        offset = _zero_point(network, zero, value) if zero else np.zeros((), np.float32)
        nonzero = np.count_nonzero(value.astype(np.float32) != offset)
        yield _stored(network, name), (int(value.size), int(nonzero))


def _stored(network: Network, name: str) -> str:
    """Return the largest of the stored tensors that a constant is computed from: it stands for the parameters."""
    return max(network.sources(name), key=lambda source: network.value(source).size)


def _zero_point(network: Network, name: str, weight: NDArray[Any]) -> NDArray[Any]:
    """Return the zero point shaped so that it meets the weight: one, or one per output channel (the first axis)."""
    zero: NDArray[Any] = network.value(name).astype(np.float32)
    return zero.reshape(-1, *[1] * (weight.ndim - 1)) if zero.size > 1 and weight.ndim > 2 else zero


def _prepares_input(network: Network, node: NodeProto) -> bool:
    """Return whether nothing but elementwise and moving operators lies between the network's input and this node."""
    waiting, seen = [node], set()
    while waiting:
        current = waiting.pop()
        if current.op_type in _PARAMETER_INPUTS:
            return False
        for name in current.input:
            producer = network.producer(name)
            if name and producer is not None and not network.is_constant(name) and name not in seen:
                seen.add(name)
                waiting.append(producer)
    return True
