"""Affine quantization: real = scale * (code - zero_point), codes on an integer grid.

    scale      = (high - low) / (q_max - q_min)
    zero_point = clamp(round(q_min - low / scale), q_min, q_max)
    code       = clamp(round(real / scale) + zero_point, q_min, q_max)

Rounding is to the nearest even integer, as ONNX QuantizeLinear rounds. Codes are clamped before they are cast, so
nothing wraps around. Source: Jacob et al. 2018, "Quantization and Training of Neural Networks for Efficient
Integer-Arithmetic-Only Inference", section 2.1.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

SMALLEST_SCALE = 2.0**-100
"""Below this a float32 scale would lose its reciprocal; an all-zero tensor gets scale 1 instead."""


@dataclass(frozen=True, kw_only=True)
class Grid:
    """The integers that a code may take: q_min <= code <= q_max."""

    q_min: int
    q_max: int

    @property
    def signed(self) -> bool:
        """Whether the codes need a signed type."""
        return self.q_min < 0

    @property
    def steps(self) -> int:
        """Number of steps between the lowest and the highest code."""
        return self.q_max - self.q_min

    @property
    def dtype(self) -> torch.dtype:
        """The smallest integer type of 8 or 16 bits that holds every code."""
        narrow = self.q_min >= -128 and self.q_max <= (127 if self.signed else 255)
        if self.signed:
            return torch.int8 if narrow else torch.int16
        return torch.uint8 if narrow else torch.uint16


def unsigned_grid(bits: int) -> Grid:
    """Return the grid 0 .. 2^bits - 1."""
    return Grid(q_min=0, q_max=2**bits - 1)


def signed_grid(bits: int, *, symmetric: bool) -> Grid:
    """Return the two's complement grid of `bits`, without its lowest code when symmetric."""
    half = int(2 ** (bits - 1))
    return Grid(q_min=-half + 1 if symmetric else -half, q_max=half - 1)


def affine_parameters(low: Tensor, high: Tensor, grid: Grid) -> tuple[Tensor, Tensor]:
    """Return (scale float32, zero_point int32), each of the shape of `low`, that cover [low, high] and contain zero.

    The range is widened to contain zero, so that zero is represented exactly (padding, masks and ReLU rely on it).
    """
    low, high = low.double().clamp(max=0.0), high.double().clamp(min=0.0)
    scale = (high - low) / grid.steps
    scale = torch.where(scale < SMALLEST_SCALE, torch.ones_like(scale), scale).float()
    zero_point = torch.round(grid.q_min - low / scale.double()).clamp(grid.q_min, grid.q_max)
    return scale, zero_point.to(torch.int32)


def symmetric_parameters(magnitude: Tensor, grid: Grid) -> tuple[Tensor, Tensor]:
    """Return (scale float32, zero_point int32) that cover [-magnitude, magnitude]; zero is the grid's centre.

    On a signed grid the zero point is 0; on an unsigned one it is (q_max + 1) / 2.
    """
    zero_point = 0 if grid.signed else (grid.q_max + 1) // 2
    scale = magnitude.double() / (grid.q_max - zero_point)
    scale = torch.where(scale < SMALLEST_SCALE, torch.ones_like(scale), scale).float()
    return scale, torch.full_like(scale, zero_point, dtype=torch.int32)


def along(parameter: Tensor, axis: int | None, dimensions: int) -> Tensor:
    """Return a per-channel parameter (C,) shaped to broadcast along `axis`, or a scalar unchanged for axis None."""
    if axis is None or parameter.ndim == 0:
        return parameter
    shape = [1] * dimensions
    shape[axis] = -1
    return parameter.reshape(shape)


def quantize(x: Tensor, scale: Tensor, zero_point: Tensor, grid: Grid, *, axis: int | None = None) -> Tensor:
    """Return the codes of x, int32, same shape; `axis` is that of per-channel parameters, None for scalars."""
    scale, zero_point = along(scale, axis, x.ndim), along(zero_point, axis, x.ndim)
    return (torch.round(x / scale) + zero_point).clamp(grid.q_min, grid.q_max).to(torch.int32)


def dequantize(codes: Tensor, scale: Tensor, zero_point: Tensor, *, axis: int | None = None) -> Tensor:
    """Return scale * (codes - zero_point) as float32."""
    scale, zero_point = along(scale, axis, codes.ndim), along(zero_point, axis, codes.ndim)
    return (codes.to(torch.int32) - zero_point).float() * scale


def fake_quantize(x: Tensor, scale: Tensor, zero_point: Tensor, grid: Grid, *, axis: int | None = None) -> Tensor:
    """Return dequantize(quantize(x)): float32 values on the grid, same shape as x."""
    scale, zero_point = along(scale, axis, x.ndim), along(zero_point, axis, x.ndim)
    codes = torch.round(x / scale).add_(zero_point).clamp_(grid.q_min, grid.q_max)
    return codes.sub_(zero_point).mul_(scale)
