"""How torch's exporter writes the operators of `tinyml.layers.operators` in ONNX."""

from collections.abc import Callable
from typing import Any, Final

import torch
from onnx.defs import OpSchema
from onnxscript import opset19
from onnxscript.values import Op, Opset

BARRIER_DOMAIN: Final = "tinyml"
BARRIER: Final = "AsStored"
"""The node between a weight that keeps its values and its readers; `tinyml.export.rewrites` removes it."""


def translations() -> dict[Callable[..., Any], Callable[..., Any]]:
    """Return a function of onnxscript for each operator, by the operator; importing those of torch takes a while."""
    return {
        torch.ops.tinyml.quantize_dequantize.default: _quantize_dequantize,
        torch.ops.tinyml.dequantize_weight.default: _dequantize_weight,
        torch.ops.tinyml.as_stored.default: _as_stored,
    }


def _quantize_dequantize(
    x: Any, scale: Any, zero_point: Any, q_min: int | None = None, q_max: int | None = None
) -> Any:
    codes = opset19.QuantizeLinear(x, scale, zero_point)
    if q_min is not None and q_max is not None:  # fewer codes than the type has: the clamp stays in integers
        limits: list[Any] = [opset19.Constant(value_int=limit) for limit in (q_min, q_max)]
        low, high = (opset19.CastLike(limit, zero_point) for limit in limits)
        codes = opset19.Clip(codes, low, high)
    return opset19.DequantizeLinear(codes, scale, zero_point)


def _dequantize_weight(codes: Any, scale: Any, axis: int, zero_point: Any = None) -> Any:
    return opset19.DequantizeLinear(codes, scale, zero_point, axis=axis)


def _as_stored(weight: Any) -> Any:
    weights = OpSchema.FormalParameter("weight", "T"), OpSchema.FormalParameter("same", "T")
    floats = [("T", ["tensor(float)", "tensor(float16)", "tensor(double)"], "")]
    schema = OpSchema(BARRIER, BARRIER_DOMAIN, 1, inputs=weights[:1], outputs=weights[1:], type_constraints=floats)
    return Op(Opset(BARRIER_DOMAIN, 1), BARRIER, schema)(weight)
