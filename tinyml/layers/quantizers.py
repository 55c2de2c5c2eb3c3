"""Quantizers of activations and weights: they compute in training what the exported file computes on the device.

An ActivationQuantizer is called on a value in the graph, or through hooks on a module that stands alone. A
WeightQuantizer is a parametrization of a layer's weight; the float weight stays the trained parameter. Gradients see
through the rounding, and the scales are learned with the network (numerics/learned_step.py); zero points are kept.
"""

import math
from itertools import takewhile
from typing import Any, Literal, final

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize

from tinyml.graph.first_input import first_input
from tinyml.layers.attachment import Attachment
from tinyml.layers.observer import RangeObserver
from tinyml.layers.operators import dequantize_weight, quantize_dequantize
from tinyml.numerics.affine import SMALLEST_SCALE, Grid, quantize
from tinyml.numerics.learned_step import learned_step
from tinyml.numerics.weight_scales import extreme_parameters, least_squares_parameters

Granularity = Literal["tensor", "channel", "group"]
"""How many weights share a scale: all, those of an output channel, or a group within an output channel."""


@final
class ActivationQuantizer(nn.Module):
    """Puts a value on a grid; with an observer attached it only watches, and returns the value unchanged.

    scale, float32 scalar, is a parameter; zero_point, a scalar of the type that the file stores, is a buffer.
    """

    zero_point: Tensor

    def __init__(self, grid: Grid) -> None:
        super().__init__()
        self.grid = grid
        self.observer: RangeObserver | None = None
        self.scale = nn.Parameter(torch.ones(()))
        self.register_buffer("zero_point", torch.zeros((), dtype=grid.dtype))

    def forward(self, x: Tensor) -> Tensor:
        """Return x rounded to the grid, same shape; float32 where x has fewer bits."""
        if self.observer is not None:
            self.observer.observe(x)
            return x
        if torch.compiler.is_exporting():
            on_grid: Tensor = quantize_dequantize(x, self.scale, self.zero_point, *self._limits())
            return on_grid
        x = x.to(torch.promote_types(x.dtype, torch.float32))
        count = max(x.numel() // max(len(x), 1), 1) if x.ndim else 1
        return learned_step(x, self.scale, self.zero_point, self.grid, count=count)

    def extra_repr(self) -> str:
        """Return the grid for print(module)."""
        return f"{self.grid.q_min}..{self.grid.q_max}"

    def _limits(self) -> tuple[int | None, int | None]:
        """Return the first and the last code, None where they are those of the stored type."""
        stored = torch.iinfo(self.zero_point.dtype)
        full = (self.grid.q_min, self.grid.q_max) == (stored.min, stored.max)
        return (None, None) if full else (self.grid.q_min, self.grid.q_max)


@final
class WeightQuantizer(Attachment):
    """Quantization of a weight (C_out, ...); a parametrization. Behind a codebook it follows the codebook's values.

    scale, float32, is () for the whole tensor, (C_out,) for channels or (C_out, G) for groups of consecutive weights of
    a channel. It is a parameter, but a buffer behind a codebook, where the centroids are what is trained. zero_point,
    int8 of the same shape, is a buffer of an asymmetric quantizer.
    """

    codes: Tensor

    def __init__(self, grid: Grid, shape: tuple[int, ...], *, symmetric: bool = True, learned: bool = True) -> None:
        super().__init__()
        self.grid, self.symmetric = grid, symmetric
        self.scale: Tensor
        if learned:
            self.scale = nn.Parameter(torch.ones(shape))
        else:
            self.register_buffer("scale", torch.ones(shape))
        if not symmetric:
            self.register_buffer("zero_point", torch.zeros(shape, dtype=torch.int8))
        self.register_buffer("codes", torch.empty(0, dtype=torch.int8), persistent=False)

    @property
    def zeros(self) -> Tensor:
        """The zero points as int32, of the scale's shape."""
        if self.symmetric:
            return torch.zeros_like(self.scale, dtype=torch.int32, requires_grad=False)
        return self.get_buffer("zero_point").to(torch.int32)

    @torch.no_grad()
    def fit(self, weight: Tensor, *, factor: Tensor | None = None, groups: int = 1) -> None:
        """Choose the scales: of the largest magnitudes on 8-bit grids, else those of least squared error.

        Args:
            weight: what the quantizer rounds, (C_out, ...).
            factor: behind a codebook, what multiplies the channels of its values, (C_out,): all channels of a codebook
                then share one step, times the magnitude of the factor, so that there are no more codes than centroids
                (twice as many where factors have both signs).
            groups: number of codebooks: equal runs of output channels.
        """
        choose = extreme_parameters if self.grid.steps >= 2**7 else least_squares_parameters
        if factor is not None:
            magnitude = torch.where(factor == 0, 1.0, factor.abs())
            plain = weight.flatten(1) / magnitude[:, None]
            steps, zeros = choose(plain.reshape(groups, -1), self.grid, symmetric=self.symmetric)
            steps = steps.repeat_interleave(len(weight) // groups) * magnitude
        else:
            rows = weight.reshape(max(self.scale.numel(), 1), -1)
            steps, zeros = choose(rows, self.grid, symmetric=self.symmetric)
        self.scale.copy_(steps.reshape(self.scale.shape))
        if not self.symmetric:
            self.get_buffer("zero_point").copy_(zeros.reshape(self.scale.shape))

    @torch.no_grad()
    def freeze(self, weight: Tensor) -> None:
        """Compute the int8 codes that the file will store: of the weight's shape, or a row for each group."""
        blocks, scale, zeros = self._blocks(weight)
        shape = (self.scale.numel(), -1) if self.scale.ndim == 2 else weight.shape
        self.codes = quantize(blocks, scale, zeros, self.grid).to(torch.int8).reshape(shape)

    def steps(self, weight: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Return each weight's step, and the fewest and the most steps that it may be from zero; all of its shape."""
        blocks, scale, zeros = self._blocks(weight)
        step, fewest, most = (
            each.to(weight.dtype).expand_as(blocks).reshape(weight.shape)
            for each in (scale.detach(), self.grid.q_min - zeros, self.grid.q_max - zeros)
        )
        return step, fewest, most

    def forward(self, weight: Tensor) -> Tensor:
        """Return the weight rounded to its grid, same shape."""
        if torch.compiler.is_exporting():
            zero_point = None if self.symmetric else self.get_buffer("zero_point")
            if self.scale.ndim < 2:
                on_grid: Tensor = dequantize_weight(self.codes, self.scale, 0, zero_point)
                return on_grid
            zero_point = None if zero_point is None else zero_point.reshape(-1)
            groups: Tensor = dequantize_weight(self.codes, self.scale.reshape(-1), 0, zero_point)
            return groups.reshape(weight.shape)
        blocks, scale, zeros = self._blocks(weight)
        count = weight.numel() // max(self.scale.numel(), 1)
        return learned_step(blocks, scale, zeros, self.grid, count=count).reshape(weight.shape)

    def after_step(self, original: Tensor, share: float) -> None:
        """Keep each learned scale at 1 / 16 of the mean magnitude for the last code, or above: see `Attachment`.

        A step that is too large may throw a scale to zero or below, from where no gradient leads back.
        """
        if isinstance(self.scale, nn.Parameter):
            rows = original.reshape(max(self.scale.numel(), 1), -1)
            least = (rows.abs().mean(dim=1) / (16 * self.grid.q_max)).clamp(min=SMALLEST_SCALE)
            self.scale.copy_(torch.maximum(self.scale, least.reshape(self.scale.shape)))

    @torch.no_grad()
    def fault(self, weight: Tensor) -> str:
        """Return that a scale is not positive, or that weights lie off the grid; see `Attachment.fault`."""
        if not bool((torch.isfinite(self.scale) & (self.scale > 0)).all()):
            return "a scale is not positive; lower the learning rate, or check its weights"
        blocks, scale, zeros = self._blocks(weight)
        codes = blocks / scale
        slack = (codes.abs() + 1) * 2.0**-20  # scale * code is rounded to float32, and so is the division
        beyond = (codes + zeros < self.grid.q_min - slack) | (codes + zeros > self.grid.q_max + slack)
        off = int((beyond | ((codes - codes.round()).abs() > slack)).count_nonzero())
        return f"{off} weights are not on the grid {self.grid.q_min}..{self.grid.q_max}" if off else ""

    def extra_repr(self) -> str:
        """Return the grid for print(module)."""
        return f"{self.grid.q_min}..{self.grid.q_max}, scales {tuple(self.scale.shape)}"

    def _blocks(self, weight: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Return the weight, scales and zero points in shapes that broadcast; the weight's own unless it has groups."""
        if self.scale.ndim == 2:
            return weight.reshape(*self.scale.shape, -1), self.scale[..., None], self.zeros[..., None]
        if self.scale.ndim == 0:
            return weight, self.scale, self.zeros
        shape = (-1, *[1] * (weight.ndim - 1))
        return weight, self.scale.reshape(shape), self.zeros.reshape(shape)


def scale_shape(weight: Tensor, granularity: Granularity, group_size: int) -> tuple[int, ...]:
    """Return the shape of the scales of a weight (C_out, ...).

    A group has `group_size` weights; where that does not divide those of a channel, the largest number below that does,
    and where that is less than half of it, the whole channel.
    """
    if granularity == "tensor":
        return ()
    length = math.prod(weight.shape[1:])
    if granularity == "channel":
        return (len(weight),)
    size = next(size for size in range(min(group_size, length), 0, -1) if length % size == 0)
    return (len(weight), length // size if 2 * size >= group_size else 1)


def attach_weight_quantizer(
    layer: nn.Module,
    grid: Grid,
    *,
    granularity: Granularity = "channel",
    group_size: int = 32,
    symmetric: bool = True,
) -> WeightQuantizer:
    """Parametrize the weight, behind what is attached already; return the quantizer, its scales not yet fitted.

    Behind a codebook it is symmetric, with a scale for each channel, whatever else was asked for: see `fit`.
    """
    weight = layer.weight
    assert isinstance(weight, Tensor)
    if has_fixed_values(layer):
        quantizer = WeightQuantizer(grid, (len(weight),), learned=False)
    else:
        quantizer = WeightQuantizer(grid, scale_shape(weight, granularity, group_size), symmetric=symmetric)
    parametrize.register_parametrization(layer, "weight", quantizer.to(weight.device), unsafe=True)
    return quantizer


def has_fixed_values(layer: nn.Module) -> bool:
    """Return whether something on the weight (a codebook) gives it values that a factor would change."""
    if not parametrize.is_parametrized(layer, "weight"):
        return False
    chain = layer.get_submodule("parametrizations.weight").children()
    return any(isinstance(each, Attachment) and not each.commutes_with_scaling for each in chain)


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


def scale_faults(model: nn.Module) -> list[str]:
    """Return one line for every activation quantizer whose scale is not positive."""
    return [
        f"the scale of {name} is {each.scale.item():g}, not positive; check the weights, or lower the learning rate"
        for name, each in model.named_modules()
        if isinstance(each, ActivationQuantizer) and not 0 < each.scale.item() < float("inf")
    ]


def attach_standalone(layer: nn.Module, grid: Grid) -> None:
    """Quantize the layer's input, and a convolution's output, through hooks: for layers outside a captured graph."""
    layer.add_module("input_quantizer", ActivationQuantizer(grid))
    layer.register_forward_pre_hook(_quantize_input, with_kwargs=True)
    if not isinstance(layer, nn.Linear):
        layer.add_module("output_quantizer", ActivationQuantizer(grid))
        layer.register_forward_hook(_quantize_output)


def _quantize_input(
    layer: nn.Module, inputs: tuple[Any, ...], named: dict[str, Any]
) -> tuple[tuple[Any, ...], dict[str, Any]]:
    """Return the arguments of the call, the first tensor among them on its grid."""
    given = first_input(inputs, named)
    on_grid = layer.input_quantizer(given)  # type: ignore[operator]  # a module, added above
    quantized = {name: on_grid if value is given else value for name, value in named.items()}
    return tuple(on_grid if value is given else value for value in inputs), quantized


def _quantize_output(layer: nn.Module, inputs: tuple[Any, ...], output: Tensor) -> Any:
    return layer.output_quantizer(output)  # type: ignore[operator]  # a module, added above
