"""Two operators that stand for ONNX QuantizeLinear and DequantizeLinear while a model is exported.

In eager mode they compute; the exporter replaces them with the ONNX operators (tinyml/export/lower.py).
"""

import torch
from torch import Tensor

from tinyml.numerics.affine import dequantize


@torch.library.custom_op("tinyml::quantize_dequantize", mutates_args=())
def quantize_dequantize(x: Tensor, scale: Tensor, zero_point: Tensor) -> Tensor:
    """Return x on the grid of the zero point's type (uint8 or int8); x any shape, scale and zero_point scalars."""
    limits = torch.iinfo(zero_point.dtype)
    return torch.fake_quantize_per_tensor_affine(x, scale, zero_point.to(torch.int32), limits.min, limits.max)


@quantize_dequantize.register_fake
def _(x: Tensor, scale: Tensor, zero_point: Tensor) -> Tensor:
    return torch.empty_like(x)


@torch.library.custom_op("tinyml::dequantize_weight", mutates_args=())
def dequantize_weight(codes: Tensor, scale: Tensor, axis: int) -> Tensor:
    """Return scale * codes as float32; codes int8 (C_out, ...), scale (C_out,) along `axis`."""
    return dequantize(codes, scale, torch.zeros_like(scale, dtype=torch.int32), axis=axis)


@dequantize_weight.register_fake
def _(codes: Tensor, scale: Tensor, axis: int) -> Tensor:
    return torch.empty_like(codes, dtype=torch.float32)
