"""AdaRound over a quantized network: layer by layer, each behind those whose rounding is learned already.

What a layer should give comes from the float network, what it reads from the quantized one, so that it makes up for
the errors before it. The chosen codes are written into the float weight, step * code, which rounds to nothing else.
Source: see tinyml/numerics/adaround.py.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated

import torch
from pydantic import Field
from torch import Tensor, fx, nn

from tinyml.graph.activation_bounds import UNBOUNDED, bounds_behind
from tinyml.graph.shared_parameters import shared_parameters
from tinyml.layers.mask import Mask
from tinyml.layers.quantizers import WeightQuantizer, weight_quantizers
from tinyml.numerics.adaround import Rounding, Samples, learn_rounding
from tinyml.passes.checked_settings import check_settings
from tinyml.passes.post_training.layer_calls import calls_in_order, image_batches, watch
from tinyml.passes.post_training.rows import Layer, draw_positions, input_rows, matrix, output_rows
from tinyml.progress import Progress

NEVER_CALLED = "no image of the first batch reaches it"
CODEBOOK = "its values are those of a codebook, which are not rounded one by one"
SHARED = "it shares its weight with another layer"
DIVERGES = "the quantized network does not call it for the same images as the float one"

SAMPLE_VALUES = 2**24
"""Input values of a layer that are kept at most: 64 MiB."""
SAMPLE_ROWS = 2**14
"""Positions of a layer's output that are kept at most."""


@dataclass(frozen=True, kw_only=True)
class AdaRound:
    """How long the rounding of a layer is learned.

    Attributes:
        iterations: of each layer.
        images: drawn for it, as those of the calibration are.
        learning_rate: of Adam.
    """

    iterations: Annotated[int, Field(ge=1)] = 500
    images: Annotated[int, Field(ge=1)] = 512
    learning_rate: Annotated[float, Field(gt=0, allow_inf_nan=False)] = 0.1

    def __post_init__(self) -> None:
        """Refuse values that do not fit; see `check_settings`."""
        check_settings(self)


def adaround(
    model: nn.Module, reference: nn.Module, inputs: Tensor, *, settings: AdaRound, seed: int, progress: Progress
) -> tuple[dict[str, Rounding], dict[str, str]]:
    """Learn how each quantized weight of the model is rounded, in place.

    Args:
        model: quantized and calibrated, in eval mode.
        reference: the same network in float, with the same names.
        inputs: images (N, ...).
        settings: how; of its images these are all.
        seed: of the samples and their order.
        progress: told of each layer.

    Returns:
        The rounding of each layer by its name, in the order of their calls, and why others keep the nearest one.
    """
    quantizers = weight_quantizers(model)
    batches = image_batches(inputs)
    calls = calls_in_order(reference, quantizers, batches[0])
    left = {name: NEVER_CALLED for name in quantizers if name not in calls}
    left.update((name, CODEBOOK) for name in calls if not _rounds_freely(model.get_submodule(name)))
    shared = shared_parameters(model)
    left.update((name, SHARED) for name in calls if f"{name}.parametrizations.weight.original" in shared)
    done: dict[str, Rounding] = {}
    names = [name for name in calls if name not in left]
    for name in progress.track(names, label="learning the rounding"):
        generator = torch.Generator().manual_seed(seed)
        samples = _samples(model, reference, name, calls[name], batches, generator)
        if samples is None:
            left[name] = DIVERGES
            continue
        quantizer, weight = quantizers[name]
        done[name] = _round(_layer(model, name), quantizer, weight.detach(), samples, settings, generator)
        progress.status(f"{name}: error x {done[name].error / (done[name].nearest_error or 1.0):.2f}")
    return done, left


def _rounds_freely(layer: nn.Module) -> bool:
    """Return whether nothing but masks comes before the quantizer: what is written into the weight then stays."""
    chain = layer.get_submodule("parametrizations.weight")
    return all(isinstance(each, Mask | nn.Identity | WeightQuantizer) for each in chain.children())


def _samples(
    model: nn.Module, reference: nn.Module, name: str, calls: int, batches: Sequence[Tensor], generator: torch.Generator
) -> Samples | None:
    """Return what the layer reads in the model and gives in the reference, at the same random positions.

    None where the two networks do not call it alike: their values decide which way they go.
    """
    layer = _layer(model, name)
    values = matrix(layer, layer.weight.detach())[:, 0].numel()
    most = max(min(SAMPLE_ROWS, SAMPLE_VALUES // values) // (len(batches) * calls), 1)
    drawn: list[tuple[torch.Size, Tensor]] = []
    outputs: list[Tensor] = []
    inputs: list[Tensor] = []

    def gives(_: nn.Module, x: Tensor, y: Tensor) -> None:
        drawn.append((y.shape, draw_positions(layer, y, most, generator)))
        outputs.append(output_rows(layer, y, drawn[-1][1]))

    def reads(_: nn.Module, x: Tensor, y: Tensor) -> None:
        shape, positions = drawn[len(inputs)] if len(inputs) < len(drawn) else ((), None)
        if positions is not None and y.shape == shape:
            inputs.append(input_rows(layer, x, y, positions))

    watch(reference, batches, {name: calls}, gives)
    watch(model, batches, {name: calls}, reads)
    if len(inputs) != len(outputs):
        return None
    should = torch.cat(outputs, dim=1)
    bias = torch.zeros(len(layer.weight)) if layer.bias is None else layer.bias.detach()
    return Samples(
        inputs=torch.cat(inputs, dim=1),
        outputs=should,
        bias=bias.to(should).reshape(len(should), 1, -1),
        bounds=bounds_behind(model, name) if isinstance(model, fx.GraphModule) else UNBOUNDED,
    )


def _round(
    layer: Layer,
    quantizer: WeightQuantizer,
    weight: Tensor,
    samples: Samples,
    settings: AdaRound,
    generator: torch.Generator,
) -> Rounding:
    """Write the learned rounding of the weight into the layer and return it."""
    step, lowest, highest = quantizer.steps(weight)
    rounding = learn_rounding(
        matrix(layer, weight),
        matrix(layer, step),
        (matrix(layer, lowest), matrix(layer, highest)),
        samples,
        iterations=settings.iterations,
        learning_rate=settings.learning_rate,
        generator=generator,
    )
    original = layer.get_submodule("parametrizations.weight").get_parameter("original")
    with torch.no_grad():
        original.copy_(rounding.codes.reshape(weight.shape) * step)
    return rounding


def _layer(model: nn.Module, name: str) -> Layer:
    layer = model.get_submodule(name)
    assert isinstance(layer, Layer)  # those alone are quantized
    return layer
