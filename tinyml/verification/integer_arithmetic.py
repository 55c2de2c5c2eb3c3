"""The arithmetic of one quantized layer of a file, in exact integers and as x86 without VNNI computes it."""

from dataclasses import dataclass
from typing import Any, Final, final

import numpy as np
import torch
from onnx import NodeProto, helper
from torch import Tensor

from tinyml.errors import TinymlError
from tinyml.export.rewrites.index import GraphIndex
from tinyml.graph.onnx_constants import Constants
from tinyml.numerics.affine import Grid
from tinyml.numerics.integer import (
    bias_codes,
    convolution_accumulators,
    linear_accumulators,
    quantized_limits,
    requantize,
    shifted_bias,
)
from tinyml.numerics.saturation import convolution_saturation, saturation_error
from tinyml.verification.quantized_layers import QuantizedLayer, channel_axis

_BYTES: Final = ("int8", "uint8")
_FLOAT32: Final = 2.0**-22  # relative rounding of a bias and of two scales


@final
@dataclass(frozen=True, kw_only=True)
class Geometry:
    """Where a convolution looks; see `tinyml.numerics.integer.convolution_accumulators`."""

    stride: tuple[int, ...]
    padding: tuple[int, ...]
    dilation: tuple[int, ...]
    groups: int


@final
@dataclass(frozen=True, kw_only=True)
class IntegerArithmetic:
    """A layer that maps codes to codes.

    Attributes:
        name: of the layer.
        source: the tensor of the input's codes.
        answer: the tensor of the output's codes.
        codes: the weight's codes as stored, (C_out, ...).
        weight: the weight's codes less their zero point, int32.
        bias: codes of the bias (C_out,), on the scale scale_input scale_weight; zeros where it has none.
        scale_input: scalar; its zero point is `zero_input`.
        scale_weight: scalar, or one an output channel.
        scale_output: scalar; its zero point is `zero_output`.
        grid: the codes that the output can take, behind a ReLU or Clip.
        geometry: of a convolution; None for Gemm and MatMul.
    """

    name: str
    source: str
    answer: str
    codes: Tensor
    weight: Tensor
    bias: Tensor
    scale_input: Tensor
    zero_input: int
    scale_weight: Tensor
    scale_output: Tensor
    zero_output: int
    grid: Grid
    geometry: Geometry | None

    def exact(self, x: Tensor) -> Tensor:
        """Return the codes of the output for those of the input x, by integers alone, int32.

        Raises:
            TinymlError: a value does not fit 32 bits.
        """
        return self._requantized(self._accumulators(x))

    def saturated(self, x: Tensor) -> Tensor:
        """Return the codes of the output where neighbouring products are added in 16 bits, see numerics/saturation.py.

        Args:
            x: codes of the input, uint8 or int8.
        """
        sums = self._accumulators(x)
        offset = -int(torch.iinfo(x.dtype).min)  # signed activations are shifted to unsigned ones
        unsigned, zero = x.int() + offset, self.zero_input + offset
        if self.geometry is None:
            error = saturation_error(unsigned.flatten(0, -2)[:, :, None], self.codes)
        else:
            error = convolution_saturation(unsigned, self.codes, zero=zero, **vars(self.geometry))
        return self._requantized(sums + error.reshape(sums.shape).long())

    @property
    def can_saturate(self) -> bool:
        """Whether the kernel with 16 bits takes this layer: int8 weights around 0, at most 2-d, not depthwise."""
        around_zero = self.codes.dtype is torch.int8 and torch.equal(self.codes.int(), self.weight)
        depthwise = self.geometry is not None and self.geometry.groups > 1 and self.weight.shape[1] == 1
        return around_zero and self.weight.ndim <= 4 and not depthwise

    def _accumulators(self, x: Tensor) -> Tensor:
        bias = shifted_bias(self.bias, self.weight, self.zero_input)
        if self.geometry is None:
            return linear_accumulators(x, self.weight, bias)
        return convolution_accumulators(x, self.weight, bias, zero_input=self.zero_input, **vars(self.geometry))

    def _requantized(self, sums: Tensor) -> Tensor:
        scales, axis = (self.scale_input, self.scale_weight), -1 if self.geometry is None else 1
        return requantize(sums, scales, self.scale_output, self.zero_output, self.grid, axis=axis % sums.ndim)


def read_arithmetic(layer: QuantizedLayer, index: GraphIndex, constants: Constants) -> IntegerArithmetic:
    """Return the layer's arithmetic.

    Raises:
        TinymlError: the layer does not map codes to codes by the integer formulas; the message is the reason.
    """
    nodes = _to_quantizer(layer.node, index, constants)
    _require_plain(layer)
    (scale_input, zero_input), (scale_weight, zero_weight), (scale_output, zero_output) = (
        _scale(node, constants) for node in (layer.data, layer.weight, nodes[-1])
    )
    if scale_weight.numel() > 1:
        _require_channels(layer)
    _kind(layer.data, constants)
    if scale_input.numel() != 1 or scale_output.numel() != 1:
        raise TinymlError("its input or output has a scale per channel")
    return IntegerArithmetic(
        name=layer.name,
        source=layer.data.input[0],
        answer=nodes[-1].output[0],
        codes=layer.codes,
        weight=layer.codes.int() - zero_weight.reshape(-1, *[1] * (layer.codes.ndim - 1)),
        bias=_bias(layer, index, constants, scale_input * scale_weight.double()),
        scale_input=scale_input.reshape(()),
        zero_input=int(zero_input),
        scale_weight=scale_weight.flatten(),
        scale_output=scale_output.reshape(()),
        zero_output=int(zero_output),
        grid=_grid(nodes, constants),
        geometry=_geometry(layer) if layer.node.op_type == "Conv" else None,
    )


def _to_quantizer(node: NodeProto, index: GraphIndex, constants: Constants) -> tuple[NodeProto, ...]:
    """Return the nodes from a layer to the QuantizeLinear of its output, a Relu or Clip between them."""
    nodes, reader = [node], index.only_reader(node.output[0])
    if reader is not None and reader.op_type in ("Relu", "Clip") and all(n in constants for n in reader.input[1:] if n):
        nodes.append(reader)
        reader = index.only_reader(reader.output[0])
    if reader is None or reader.op_type != "QuantizeLinear":
        raise TinymlError("its answer stays in float")
    return (*nodes, reader)


def _require_plain(layer: QuantizedLayer) -> None:
    """Do nothing where the layer is a plain one.

    Raises:
        TinymlError: it is not; the message says why.
    """
    settings = _settings(layer.node)
    scaled = settings.get("alpha", 1.0) != 1.0 or settings.get("beta", 1.0) != 1.0
    if layer.node.op_type == "Gemm" and (scaled or settings.get("transA", 0)):
        raise TinymlError("the Gemm scales or transposes its input")
    if settings.get("auto_pad", b"NOTSET") not in (b"NOTSET", b"VALID"):
        raise TinymlError("the convolution is padded automatically")
    if layer.node.op_type != "Conv" and layer.codes.ndim != 2:
        raise TinymlError("its weight is a stack of matrices")


def _require_channels(layer: QuantizedLayer) -> None:
    """Do nothing where the scales of a weight are those of its output channels.

    Raises:
        TinymlError: they are others'.
    """
    settings = _settings(layer.weight)
    axis = settings.get("axis", 1) - channel_axis(layer.node)
    if settings.get("block_size", 0) or axis not in (0, layer.codes.ndim):
        raise TinymlError("its weight has no scale of its own for each output channel")


def _scale(node: NodeProto, constants: Constants) -> tuple[Tensor, Tensor]:
    """Return scale (float32) and zero point (int32) of a QuantizeLinear or DequantizeLinear, equally many."""
    if not all(name in constants for name in node.input[1:] if name):
        raise TinymlError("a scale is computed while it runs")
    scale = torch.from_numpy(constants.value(node.input[1]).astype(np.float32))
    if len(node.input) < 3 or not node.input[2]:
        return scale, torch.zeros_like(scale, dtype=torch.int32)
    return scale, torch.from_numpy(constants.value(node.input[2]).astype(np.int32))


def _kind(node: NodeProto, constants: Constants) -> np.dtype[Any]:
    """Return the type of the codes of a QuantizeLinear or DequantizeLinear, that of its zero point or else uint8.

    Raises:
        TinymlError: they are not bytes: no kernel sums their products in integers.
    """
    kind = constants.value(node.input[2]).dtype if len(node.input) > 2 and node.input[2] else np.dtype(np.uint8)
    if kind.name not in _BYTES:
        raise TinymlError(f"its input or answer is {kind.name}, which is computed in float")
    return kind


def _bias(layer: QuantizedLayer, index: GraphIndex, constants: Constants, step: Tensor) -> Tensor:
    """Return the bias codes (C_out,): the stored ones, whatever scale stands beside them, or those of a float bias.

    Raises:
        TinymlError: it is computed while it runs, or lies between the codes.
    """
    channels, inputs = len(layer.codes), layer.node.input
    if len(inputs) < 3 or not inputs[2]:
        return torch.zeros(channels, dtype=torch.int64)
    if inputs[2] not in constants:
        raise TinymlError("its bias is computed while it runs")
    stored = index.dequantizer(inputs[2])
    if stored is not None:
        return torch.from_numpy(constants.value(stored.input[0]).astype(np.int64)).flatten().expand(channels)
    bias = torch.from_numpy(constants.value(inputs[2]).astype(np.float64)).flatten().expand(channels)
    codes = bias_codes(bias, step)
    if not torch.allclose(codes * step, bias, rtol=_FLOAT32, atol=0.0):
        raise TinymlError("its bias stays in float")
    return codes


def _grid(nodes: tuple[NodeProto, ...], constants: Constants) -> Grid:
    """Return the codes that the output can take."""
    quantizer = nodes[-1]
    kind = _kind(quantizer, constants)
    grid = Grid(q_min=int(np.iinfo(kind).min), q_max=int(np.iinfo(kind).max))
    if len(nodes) == 2:
        return grid
    names = [*nodes[1].input[1:], "", ""][:2]
    low, high = (float(constants.value(name)) if name else None for name in names)
    scale, zero_point = _scale(quantizer, constants)
    return quantized_limits(0.0 if nodes[1].op_type == "Relu" else low, high, scale, int(zero_point), grid)


def _geometry(layer: QuantizedLayer) -> Geometry:
    """Return where the convolution looks."""
    settings, dimensions = _settings(layer.node), layer.codes.ndim - 2
    pads = settings.get("pads", [0] * 2 * dimensions)
    return Geometry(
        stride=tuple(settings.get("strides", [1] * dimensions)),
        padding=tuple(pads[side] for d in reversed(range(dimensions)) for side in (d, d + dimensions)),
        dilation=tuple(settings.get("dilations", [1] * dimensions)),
        groups=settings.get("group", 1),
    )


def _settings(node: NodeProto) -> dict[str, Any]:
    """Return a node's attributes by name."""
    return {entry.name: helper.get_attribute_value(entry) for entry in node.attribute}
