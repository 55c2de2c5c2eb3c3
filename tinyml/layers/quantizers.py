"""Quantizers of activations and weights: they compute in training what the exported file computes on the device.

An ActivationQuantizer is called on a value in the graph, or through hooks on a module that stands alone. A
WeightQuantizer is a parametrization of a layer's weight; the float weight stays the trained parameter.
"""

from itertools import takewhile
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize

from tinyml.layers.observer import RangeObserver
from tinyml.layers.operators import dequantize_weight, quantize_dequantize
from tinyml.numerics.affine import Grid, fake_quantize, quantize, symmetric_parameters


class ActivationQuantizer(nn.Module):
    """Puts a value on an 8-bit grid; with an observer attached it only watches, and returns the value unchanged.

    Buffers: scale, float32 scalar; zero_point, uint8 or int8 scalar, the type that the file stores.
    """

    scale: Tensor
    zero_point: Tensor

    def __init__(self, grid: Grid) -> None:
        super().__init__()
        self.grid = grid
        self.observer: RangeObserver | None = None
        self.register_buffer("scale", torch.ones(()))
        self.register_buffer("zero_point", torch.zeros((), dtype=torch.int8 if grid.signed else torch.uint8))

    def forward(self, x: Tensor) -> Tensor:
        """Return x rounded to the grid, same shape."""
        if self.observer is not None:
            self.observer.observe(x)
            return x
        if torch.compiler.is_exporting():
            on_grid: Tensor = quantize_dequantize(x, self.scale, self.zero_point)
            return on_grid
        # The division of ONNX's definition, not torch's fused multiplication by 1 / scale: pixels tie at half steps.
        return fake_quantize(x, self.scale, self.zero_point.to(x.dtype), self.grid)

    def extra_repr(self) -> str:
        """Return the grid for print(module)."""
        return f"{self.grid.q_min}..{self.grid.q_max}"


class WeightQuantizer(nn.Module):
    """Symmetric quantization of a weight (C_out, ...) with one scale per output channel; a parametrization.

    Buffers: scale, float32 (C_out,).
    """

    scale: Tensor
    codes: Tensor

    def __init__(self, grid: Grid, channels: int) -> None:
        super().__init__()
        self.grid = grid
        self.register_buffer("scale", torch.ones(channels))
        self.register_buffer("codes", torch.empty(0, dtype=torch.int8), persistent=False)

    def fit(self, weight: Tensor) -> None:
        """Set the scales so that the largest magnitude of each channel takes the last code."""
        magnitude = weight.detach().abs().flatten(1).amax(dim=1)
        self.scale.copy_(symmetric_parameters(magnitude, self.grid)[0])

    def freeze(self, weight: Tensor) -> None:
        """Compute the int8 codes that the file will store."""
        zero = torch.zeros_like(self.scale, dtype=torch.int32)
        self.codes = quantize(weight.detach(), self.scale, zero, self.grid, axis=0).to(torch.int8)

    def forward(self, weight: Tensor) -> Tensor:
        """Return the weight rounded to its grid, same shape."""
        if torch.compiler.is_exporting():
            on_grid: Tensor = dequantize_weight(self.codes, self.scale, 0)
            return on_grid
        return fake_quantize(weight, self.scale, torch.zeros_like(self.scale), self.grid, axis=0)


def attach_weight_quantizer(layer: nn.Module, grid: Grid) -> WeightQuantizer:
    """Parametrize the weight, behind what is attached already; return the quantizer, its scales not yet fitted."""
    weight = layer.weight
    assert isinstance(weight, Tensor)
    quantizer = WeightQuantizer(grid, len(weight))
    parametrize.register_parametrization(layer, "weight", quantizer, unsafe=True)
    return quantizer


def weight_quantizers(model: nn.Module) -> dict[str, tuple[WeightQuantizer, Tensor]]:
    """Return (quantizer, the float weight that it rounds) by the name of the layer."""
    return {
        name: (quantizer, _rounded_by(quantizer, layer.parametrizations.weight))
        for name, layer in model.named_modules()
        if parametrize.is_parametrized(layer, "weight")
        for quantizer in layer.parametrizations.weight
        if isinstance(quantizer, WeightQuantizer)
    }


def _rounded_by(quantizer: WeightQuantizer, chain: parametrize.ParametrizationList) -> Tensor:
    """Return what the parametrizations before the quantizer (a mask) make of the original."""
    weight = chain.original
    assert isinstance(weight, Tensor)
    for before in takewhile(lambda each: each is not quantizer, chain):
        weight = before(weight)
    return weight


def attach_standalone(layer: nn.Module, grid: Grid) -> None:
    """Quantize the layer's input, and a convolution's output, through hooks: for layers outside a captured graph."""
    layer.add_module("input_quantizer", ActivationQuantizer(grid))
    layer.register_forward_pre_hook(_quantize_input)
    if not isinstance(layer, nn.Linear):
        layer.add_module("output_quantizer", ActivationQuantizer(grid))
        layer.register_forward_hook(_quantize_output)


def _quantize_input(layer: nn.Module, inputs: tuple[Any, ...]) -> tuple[Any, ...]:
    return (layer.input_quantizer(inputs[0]), *inputs[1:])  # type: ignore[operator]  # a module, added above


def _quantize_output(layer: nn.Module, inputs: tuple[Any, ...], output: Tensor) -> Any:
    return layer.output_quantizer(output)  # type: ignore[operator]  # a module, added above
