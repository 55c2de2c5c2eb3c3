"""What a scan changes at once: a layer or a group of channels, its tensors, and their values at a level."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import final

from torch import Tensor, nn

from tinyml.graph.capture import LeftAlone

Values = Mapping[str, Tensor]
"""New values by the name of the parameter or buffer."""


@final
@dataclass(frozen=True, kw_only=True, eq=False)
class Unit:
    """What is changed at once.

    Attributes:
        name: of the layer, or of the first layer of the group.
        tensors: names of the parameters and buffers that a change touches.
        size: number of weights, or of channels, that the level speaks of.
        values: what these tensors are at a level; the network keeps its own.
        start: level at which the unit is already, by an earlier pass.
        stored: what the file holds of the weight at a level, of its shape; None where levels are no bits.
    """

    name: str
    tensors: tuple[str, ...]
    size: int
    values: Callable[[float], Values]
    start: float = 0.0
    stored: Callable[[float], Tensor] | None = None


@final
@dataclass(frozen=True, kw_only=True)
class Patterns:
    """Which layers to scan: glob patterns of module names."""

    include: tuple[str, ...] = ("*",)
    exclude: tuple[str, ...] = ()


@final
@dataclass(frozen=True, kw_only=True)
class FoundUnits:
    """The units of a network in the order of its modules, and what cannot be changed, with the reason."""

    units: tuple[Unit, ...]
    left_alone: tuple[LeftAlone, ...]


@contextmanager
def changed(module: nn.Module, values: Values) -> Iterator[None]:
    """Give the module these values while the context is open, without gradients; then every bit is as before."""
    tensors = {name: find_tensor(module, name) for name in values}
    kept = {name: tensor.detach().clone() for name, tensor in tensors.items()}
    try:
        for name, value in values.items():
            tensors[name].copy_(value)
        yield
    finally:
        for name, tensor in tensors.items():
            tensor.copy_(kept[name])


def find_tensor(module: nn.Module, name: str) -> Tensor:
    """Return the parameter or buffer of that name, itself."""
    place, _, last = name.rpartition(".")
    tensor = getattr(module.get_submodule(place), last)
    assert isinstance(tensor, Tensor)
    return tensor
