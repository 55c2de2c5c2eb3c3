"""Rounding to a grid that training sees through, with a scale that is learned (LSQ).

    code     = clamp(round(x / scale), q_min - zero_point, q_max - zero_point)
    output   = scale * code
    d/dx     = 1 inside the range, 0 outside
    d/dscale = (code - x / scale inside the range, code outside) / sqrt(N q)

with N values for each scale and q the largest magnitude of a code. Source: Esser et al. 2020, "Learned Step Size
Quantization", arXiv:1902.08153, equations 1 to 3 and section 2.2. Of values that change from example to example
(activations), N counts those of one. Zero points are not learned, so they stay integers: unlike LSQ+ (Bhalgat et al.
2020). The values are those of numerics/affine.fake_quantize, to the bit.
"""

from typing import Any, Final

import torch
from torch import Tensor

from tinyml.numerics.affine import Grid

_BETWEEN: Final = torch.ops.aten.hardtanh_backward.default


def learned_step(x: Tensor, scale: Tensor, zero_point: Tensor, grid: Grid, *, count: int) -> Tensor:
    """Return x rounded to the grid, same shape; gradients reach x and scale.

    Args:
        x: float values of any shape.
        scale: positive, a scalar or of x's dimensions and shaped to broadcast.
        zero_point: integers, a scalar or shaped as the scale.
        grid: of the codes.
        count: N, how many values each scale stands for.
    """
    rounded: Tensor = _LearnedStep.apply(x, scale, zero_point, grid, count)  # type: ignore[no-untyped-call]  # torch's
    return rounded


class _LearnedStep(torch.autograd.Function):
    """In-place where it may be: activations are large, and every pass over them costs a tenth of a convolution."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, scale: Tensor, zero_point: Tensor, grid: Grid, count: int) -> Tensor:
        low, high = _limits(zero_point, grid)
        # The division of ONNX's definition, not a multiplication by 1 / scale: pixels tie at half steps.
        codes = torch.div(x, scale).round_()
        rounded = codes.clamp_(low, high).mul_(scale)  # type: ignore[arg-type]  # both numbers or both tensors
        ctx.save_for_backward(x, scale, rounded)
        ctx.low, ctx.high, ctx.count = low, high, count
        return rounded

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        x, scale, rounded = ctx.saved_tensors
        inside = _inside(gradient, x, scale, ctx.low, ctx.high)
        if not ctx.needs_input_grad[1]:
            return inside, None, None, None, None
        slope = _products(gradient, rounded, scale) - _products(inside, x, scale)
        largest = torch.maximum(torch.as_tensor(ctx.high), -torch.as_tensor(ctx.low)).clamp(min=1)
        weight = (ctx.count * largest.to(scale)).rsqrt()
        return inside, slope.div_(scale).mul_(weight), None, None, None


def _limits(zero_point: Tensor, grid: Grid) -> tuple[float, float] | tuple[Tensor, Tensor]:
    """Return the lowest and the highest code less the zero point: numbers where that costs no wait for a device."""
    if zero_point.ndim == 0 and zero_point.device.type == "cpu":
        zero = int(zero_point)
        return float(grid.q_min - zero), float(grid.q_max - zero)
    zeros = zero_point.to(torch.float32)
    return grid.q_min - zeros, grid.q_max - zeros


def _inside(gradient: Tensor, x: Tensor, scale: Tensor, low: float | Tensor, high: float | Tensor) -> Tensor:
    """Return the gradient where x is inside the range, else 0."""
    if isinstance(low, float) and isinstance(high, float) and scale.ndim == 0:
        step = scale.item()
        kept: Tensor = _BETWEEN(gradient, x, low * step, high * step)
        return kept
    return gradient * ((x > low * scale) & (x < high * scale))


def _products(first: Tensor, second: Tensor, scale: Tensor) -> Tensor:
    """Return the sum of first * second over all that each scale stands for, of the scale's shape."""
    if scale.ndim:
        return (first * second).sum_to_size(scale.shape)
    if first.stride() == second.stride() and _is_dense(first):
        return torch.dot(first.as_strided((first.numel(),), (1,)), second.as_strided((first.numel(),), (1,)))
    return (first * second).sum()


def _is_dense(x: Tensor) -> bool:
    return x.is_contiguous() or (x.ndim == 4 and x.is_contiguous(memory_format=torch.channels_last))
