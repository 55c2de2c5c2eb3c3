"""Follow channels by experiment: disturb one output channel of a layer and see where it arrives.

Layers that mix channels replay an undisturbed run, so that a disturbance ends at the next of them; norms over channels
pass their input on. Positions where the same disturbance arrives are coupled. Where there are several kinds of such
couples (the halves of a channel shuffle), one channel takes its share of each kind, so that halves stay halves.
"""

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Final, final

import torch
from torch import Tensor, nn

from tinyml.graph.channel_dependencies import PRODUCERS, Place
from tinyml.graph.channel_layers import is_depthwise
from tinyml.graph.first_input import first_input
from tinyml.graph.layer_types import LastNorm

_AT_ONCE: Final = 64
_SIGNS: Final = (1, -1)  # a rectifier hides one of them
_STRENGTH: Final = 10  # standard deviations, half to one and a half times
_VISIBLE: Final = 1e-4

Position = tuple[Place, int]
Coupled = dict[Place, list[int]]
"""Positions that belong together, in rising order, by place."""


def probed_index(model: nn.Module, places: Sequence[Place], example: Tensor) -> Mapping[Place, Tensor]:
    """Return the positions (channels, k) that belong together at every place; nothing where that cannot be seen.

    Args:
        model: in eval mode, its weights hiding nothing; every layer of the places runs once. It stays as it was.
        places: connected ones; bare parameters cannot be watched.
        example: one input (1, ...).
    """
    if any(place.side == "parameter" for place in places):
        return {}
    found = _joined(_Probe(model, places, example).arrivals())
    kinds: dict[tuple[int, ...], list[Coupled]] = {}
    for coupled in found:
        kinds.setdefault(tuple(len(coupled.get(place, ())) for place in places), []).append(coupled)
    rows = math.gcd(*(len(alike) for alike in kinds.values()))
    shared: list[list[Coupled]] = [[] for _ in range(rows)]
    for alike in kinds.values():
        for row, coupled in enumerate(alike):
            shared[row * rows // len(alike)].append(coupled)
    seen = [place for place in places if any(place in coupled for coupled in found)]
    return {
        place: torch.tensor([sorted(p for coupled in row for p in coupled.get(place, ())) for row in shared])
        for place in seen
    }


def _joined(pairs: Iterator[tuple[Position, Position]]) -> list[Coupled]:
    """Return the positions that pairs connect, in the order of their first pairs."""
    parents: dict[Position, Position] = {}

    def root(position: Position) -> Position:
        while (parent := parents.setdefault(position, position)) != position:
            position = parent
        return position

    for first, second in pairs:
        parents[root(second)] = root(first)
    coupled: dict[Position, Coupled] = {}
    for place, position in list(parents):
        coupled.setdefault(root((place, position)), {}).setdefault(place, []).append(position)
    return list(coupled.values())


@final
class _Probe:
    """A network, the places to watch, and an undisturbed run of it."""

    def __init__(self, model: nn.Module, places: Sequence[Place], example: Tensor) -> None:
        self.model, self.places, self.example = model, places, example
        self.outputs: dict[str, Tensor] = {}
        self.inputs: dict[Place, Tensor] = {}
        self.generator = torch.Generator().manual_seed(0)
        self.mixing = {
            name: layer
            for name, layer in model.named_modules()
            if isinstance(layer, PRODUCERS) and not is_depthwise(layer)
        }

    @torch.no_grad()
    def arrivals(self) -> Iterator[tuple[Position, Position]]:
        """Yield (disturbed position, position where it arrives) for every channel that a layer of the places makes."""
        hooks = [
            self.model.get_submodule(place.name).register_forward_pre_hook(self._watch(place), with_kwargs=True)
            for place in self.places
            if place.side == "input" or place.name not in self.mixing
        ]
        try:
            with self._patched({name: self._recorded(name) for name in self.mixing}):
                self.model(self.example)
            undisturbed = dict(self.inputs)
            for place in self.places:
                if place.side == "output" and place.name in self.mixing:
                    for sign in _SIGNS:
                        yield from self._arrivals_of(place, undisturbed, sign * _STRENGTH)
        finally:
            for hook in hooks:
                hook.remove()

    def _arrivals_of(
        self, source: Place, undisturbed: Mapping[Place, Tensor], strength: float
    ) -> Iterator[tuple[Position, Position]]:
        axis = _axis(self.mixing[source.name])
        channels = self.outputs[source.name].shape[axis]
        for start in range(0, channels, _AT_ONCE):
            chosen = torch.arange(start, min(start + _AT_ONCE, channels))
            with self._patched({name: self._replayed(name, source.name, chosen, strength) for name in self.mixing}):
                self.model(self.example.expand(len(chosen), *self.example.shape[1:]))
            for place, clean in undisturbed.items():
                moved = (self.inputs[place] - clean).abs() > _VISIBLE * clean.abs().max()
                layer = self.model.get_submodule(place.name)
                arrived = moved.movedim(_axis(layer), 1).reshape(len(chosen), clean.shape[_axis(layer)], -1).any(dim=2)
                for row, position in arrived.nonzero().tolist():
                    yield (source, int(chosen[row])), (place, position)

    def _watch(self, place: Place) -> Callable[[nn.Module, tuple[object, ...], Mapping[str, object]], None]:
        def keep(layer: nn.Module, inputs: tuple[object, ...], named: Mapping[str, object]) -> None:
            self.inputs[place] = first_input(inputs, named).clone()  # what comes behind may work in place

        return keep

    def _recorded(self, name: str) -> Callable[..., Tensor]:
        forward: Callable[..., Tensor] = self.mixing[name].forward

        def run(*inputs: object, **named: object) -> Tensor:
            outputs = forward(*inputs, **named)
            self.outputs[name] = outputs.clone()
            return outputs

        return run

    def _replayed(self, name: str, source: str, chosen: Tensor, strength: float) -> Callable[..., Tensor]:
        def run(*_: object, **__: object) -> Tensor:
            clean = self.outputs[name]
            outputs = clean.expand(len(chosen), *clean.shape[1:]).clone()
            if name != source:
                return outputs
            channels = outputs.movedim(_axis(self.mixing[name]), 1)
            rows = torch.arange(len(chosen))
            uneven = torch.rand(channels[rows, chosen].shape, generator=self.generator) + 0.5
            channels[rows, chosen] += strength * clean.std() * uneven
            return outputs

        return run

    @contextmanager
    def _patched(self, forwards: Mapping[str, Callable[..., Tensor]]) -> Iterator[None]:
        """Let layers run these functions, and norms over channels nothing, while the context is open."""
        norms = [layer for layer in self.model.modules() if isinstance(layer, LastNorm | nn.GroupNorm)]
        layers = [*(self.mixing[name] for name in forwards), *norms]
        try:
            for layer, forward in zip(layers, [*forwards.values(), *([_same] * len(norms))], strict=True):
                layer.__dict__["forward"] = forward
            yield
        finally:
            for layer in layers:
                layer.__dict__.pop("forward", None)


def _same(*inputs: object, **named: object) -> Tensor:
    return first_input(inputs, named)


def _axis(layer: nn.Module) -> int:
    """Return the dimension of a layer's inputs and outputs that holds the channels, from the end for the last one."""
    return -1 if isinstance(layer, nn.Linear | LastNorm) else 1
