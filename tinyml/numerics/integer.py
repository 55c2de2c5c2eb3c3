"""The integer reference: what a layer of a quantized network answers, in integers alone, rounded only once.

With real = scale (code - zero_point) for input x, weight w and output y, and w's zero point 0:

    bias_code       = round(bias / (scale_x scale_w))                                int32, its scale is scale_x scale_w
    shifted_bias[o] = bias_code[o] - zero_x sum(w[o])                                int32, known before any input is
    accumulator[o]  = sum(x w[o]) + shifted_bias[o]                                  int8 x int8 -> int32
    y[o]            = clamp(round(accumulator[o] scale_x scale_w / scale_y) + zero_y)

A convolution is padded with zero_x, the code of 0. A ReLU is a higher lowest code (`quantized_limits`). Source: Jacob
et al. 2018, "Quantization and Training of Neural Networks for Efficient Integer-Arithmetic-Only Inference", sections
2.1-2.4. They multiply by scale_x scale_w / scale_y in fixed point and runtimes do in float32; here the quotient is
exact and is rounded once, to the nearest even integer, as ONNX QuantizeLinear rounds. Sums are computed in float64,
which holds every integer below 2^53; a value that does not fit a runtime's 32 bits, where it would wrap, is an error.
"""

from fractions import Fraction
from typing import Final

import torch
import torch.nn.functional as F
from torch import Tensor

from tinyml.errors import TinymlError
from tinyml.numerics.affine import Grid, along, quantize

INT32: Final = Grid(q_min=-(2**31), q_max=2**31 - 1)
_CONVOLUTIONS: Final = {3: F.conv1d, 4: F.conv2d, 5: F.conv3d}
_NEAR_A_TIE: Final = 1e-6
"""Far above the error of two products and a quotient in float64 within 17 bits (2^17 x 3 x 2^-53 < 1e-10)."""


def bias_codes(bias: Tensor, step: Tensor) -> Tensor:
    """Return round(bias / step), int64 (C_out,); step is scale_input scale_weight, scalar or (C_out,).

    Raises:
        TinymlError: a code does not fit 32 bits.
    """
    return _int32(torch.round(bias.double() / step.double()), "the bias")


def shifted_bias(codes: Tensor, weight: Tensor, zero_input: int) -> Tensor:
    """Return the bias with the input's zero point folded in, int64 (C_out,).

    Args:
        codes: bias codes (C_out,) on the scale scale_input scale_weight.
        weight: weight codes (C_out, ...) less their zero point.
        zero_input: zero point of the input.

    Raises:
        TinymlError: a value does not fit 32 bits.
    """
    return _int32(codes.double() - zero_input * weight.double().flatten(1).sum(1), "the shifted bias")


def linear_accumulators(x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    """Return the sums of a linear layer, int64 (..., C_out).

    Args:
        x: input codes (..., C_in), as stored: their zero point is in the bias.
        weight: weight codes (C_out, C_in) less their zero point.
        bias: the shifted bias (C_out,).

    Raises:
        TinymlError: a sum does not fit 32 bits.
    """
    return _int32(F.linear(x.double(), weight.double(), bias.double()), "a sum of products")


def convolution_accumulators(
    x: Tensor,
    weight: Tensor,
    bias: Tensor,
    *,
    zero_input: int,
    stride: tuple[int, ...],
    padding: tuple[int, ...],
    dilation: tuple[int, ...],
    groups: int,
) -> Tensor:
    """Return the sums of a convolution over one to three dimensions, int64 (N, C_out, ...).

    Args:
        x: input codes (N, C_in, ...), as stored: their zero point is in the bias.
        weight: weight codes (C_out, C_in / groups, ...) less their zero point.
        bias: the shifted bias (C_out,).
        zero_input: zero point of the input, which the input is padded with.
        stride: one a dimension.
        padding: places before and after, of the last dimension first: (left, right, top, bottom).
        dilation: one a dimension.
        groups: groups of channels.

    Raises:
        TinymlError: a sum does not fit 32 bits.
    """
    padded = F.pad(x.double(), padding, value=zero_input)
    convolve = _CONVOLUTIONS[x.ndim]
    sums = convolve(padded, weight.double(), bias.double(), stride=stride, dilation=dilation, groups=groups)
    return _int32(sums, "a sum of products")


def requantize(
    accumulators: Tensor,
    scale_accumulator: tuple[Tensor, Tensor],
    scale_output: Tensor,
    zero_output: int,
    grid: Grid,
    *,
    axis: int,
) -> Tensor:
    """Return the output's codes, int32, of the accumulators' shape: exact, ties to even before the zero point is added.

    Args:
        accumulators: integers of at most 32 bits.
        scale_accumulator: scales of input (scalar) and weight (scalar, or one a channel), whose product is the step.
        scale_output: scalar.
        zero_output: the output's zero point.
        grid: the codes of the output, 16 bits at most; narrower behind a ReLU.
        axis: that of the channels.
    """
    channels = accumulators.shape[axis]
    steps = scale_accumulator[0].double() * scale_accumulator[1].double().expand(channels)
    factor = along(steps / scale_output.double(), axis, accumulators.ndim)
    values = accumulators.double() * factor
    codes = torch.round(values)
    inside = (values > grid.q_min - zero_output - 1) & (values < grid.q_max - zero_output + 1)
    ties = (inside & ((values - values.floor() - 0.5).abs() < _NEAR_A_TIE)).nonzero(as_tuple=True)
    if ties[0].numel():
        codes[ties] = _settled(accumulators[ties], ties[axis], steps, scale_output)
    return (codes + zero_output).clamp(grid.q_min, grid.q_max).to(torch.int32)


def quantized_limits(low: float | None, high: float | None, scale: Tensor, zero_point: int, grid: Grid) -> Grid:
    """Return the codes that remain of a grid behind clamp(low, high), None being no limit.

    Quantization is monotone, so that to clamp and then to quantize is to quantize and then to clamp the codes.
    """
    limits = [
        int(quantize(torch.tensor(limit), scale, torch.tensor(zero_point), grid)) if limit is not None else code
        for limit, code in ((low, grid.q_min), (high, grid.q_max))
    ]
    return Grid(q_min=limits[0], q_max=limits[1])


def _settled(accumulators: Tensor, channels: Tensor, steps: Tensor, scale_output: Tensor) -> Tensor:
    """Return round(accumulator step / scale_output) by fractions, float64; equal sums of a channel are settled once."""
    pairs, places = torch.unique(torch.stack((accumulators.long(), channels)), dim=1, return_inverse=True)
    step, scale = steps.tolist(), Fraction(float(scale_output))
    settled = [round(total * Fraction(step[channel]) / scale) for total, channel in pairs.T.tolist()]
    return torch.tensor(settled, dtype=torch.float64)[places]


def _int32(values: Tensor, name: str) -> Tensor:
    """Return integers held in float64 as int64.

    Raises:
        TinymlError: one does not fit 32 bits.
    """
    beyond = values[(values < INT32.q_min) | (values > INT32.q_max) | values.isnan()]
    if beyond.numel():
        worst = float(beyond[beyond.abs().argmax()])
        raise TinymlError(
            f"integer arithmetic: {name} reaches {worst:.0f}, which does not fit 32 bits ({INT32.q_min} to "
            f"{INT32.q_max}); give the layer a larger weight scale, or leave it in float"
        )
    return values.long()
