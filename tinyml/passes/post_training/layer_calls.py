"""What a layer reads and gives while a network runs on calibration images, one layer at a time.

Only the values of one layer are kept at a time, and a network runs no further than to the layer.
"""

import math
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize

from tinyml.graph.first_input import first_input

BATCH = 64

See = Callable[[nn.Module, Tensor, Tensor], None]
"""Told of each call of a layer: the layer, its input, its output before any quantizer behind it."""


class _Reached(Exception):
    """Ends a forward whose rest nobody needs."""


def image_batches(inputs: Tensor) -> tuple[Tensor, ...]:
    """Return the inputs (N, ...) in batches of almost one size, at most 64 each."""
    if inputs.ndim == 4:
        inputs = inputs.contiguous(memory_format=torch.channels_last)  # the layout of the fastest convolutions
    return torch.tensor_split(inputs, math.ceil(len(inputs) / BATCH))


def calls_in_order(model: nn.Module, names: Iterable[str], example: Tensor) -> dict[str, int]:
    """Return how often the model calls each of the layers, in the order of their first calls; not those never called.

    Args:
        model: in eval mode.
        names: of the layers.
        example: one input batch (N, ...).
    """
    calls: dict[str, int] = {}
    layers = {model.get_submodule(name): name for name in names}

    def count(layer: nn.Module, x: Tensor, y: Tensor) -> None:
        calls[layers[layer]] = calls.get(layers[layer], 0) + 1

    watch(model, (example,), dict.fromkeys(layers.values(), math.inf), count)
    return calls


@torch.no_grad()
def watch(model: nn.Module, batches: Iterable[Tensor], calls: Mapping[str, float], see: See) -> None:
    """Run the batches through the model, each until every layer has been called as often as `calls` says."""
    wanted = {model.get_submodule(name): count for name, count in calls.items()}
    left: dict[nn.Module, float] = {}

    def hook(layer: nn.Module, inputs: tuple[object, ...], named: dict[str, object], output: Tensor) -> None:
        see(layer, first_input(inputs, named), output)
        left[layer] -= 1
        if not any(count > 0 for count in left.values()):
            raise _Reached

    # First of the layer's hooks: before one that quantizes its output.
    hooks = [layer.register_forward_hook(hook, prepend=True, with_kwargs=True) for layer in wanted]
    try:
        with parametrize.cached():  # the weights are quantized once, not once a batch
            for batch in batches:
                left.update(wanted)
                with suppress(_Reached):
                    nn.Module.__call__(model, batch)  # not the graph's own, which prints the code where it was ended
    finally:
        for each in hooks:
            each.remove()
