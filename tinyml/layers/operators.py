"""Operators that stand for ONNX QuantizeLinear and DequantizeLinear while a model is exported, and a barrier.

In eager mode they compute; the exporter replaces them with the ONNX operators (tinyml/export/translations.py).
"""

import torch
from torch import Tensor

from tinyml.numerics.affine import Grid, dequantize, fake_quantize


@torch.library.custom_op("tinyml::quantize_dequantize", mutates_args=())
def quantize_dequantize(
    x: Tensor, scale: Tensor, zero_point: Tensor, q_min: int | None = None, q_max: int | None = None
) -> Tensor:
    """Return x on a grid, same shape; scale and zero_point scalars.

    Without q_min and q_max the grid is that of the zero point's type (uint8 or int8).
    """
    limits = torch.iinfo(zero_point.dtype)
    grid = Grid(q_min=limits.min if q_min is None else q_min, q_max=limits.max if q_max is None else q_max)
    return fake_quantize(x, scale, zero_point.to(x.dtype), grid)


@quantize_dequantize.register_fake
def _(x: Tensor, scale: Tensor, zero_point: Tensor, q_min: int | None = None, q_max: int | None = None) -> Tensor:
    return torch.empty_like(x)


@torch.library.custom_op("tinyml::dequantize_weight", mutates_args=())
def dequantize_weight(codes: Tensor, scale: Tensor, axis: int, zero_point: Tensor | None = None) -> Tensor:
    """Return scale * (codes - zero_point) as float32; codes int8 of any shape.

    scale and zero_point, which is 0 where it is left out: (C,) along `axis` of the codes, or scalars.
    """
    zeros = torch.zeros_like(scale, dtype=torch.int32) if zero_point is None else zero_point.to(torch.int32)
    return dequantize(codes, scale, zeros, axis=axis)


@dequantize_weight.register_fake
def _(codes: Tensor, scale: Tensor, axis: int, zero_point: Tensor | None = None) -> Tensor:
    return torch.empty_like(codes, dtype=torch.float32)


@torch.library.custom_op("tinyml::as_stored", mutates_args=())
def as_stored(weight: Tensor) -> Tensor:
    """Return the weight, whose values the file must keep: torch's exporter folds nothing into it."""
    return weight.clone()


@as_stored.register_fake
def _(weight: Tensor) -> Tensor:
    return torch.empty_like(weight)
