"""The scan: every unit at every level on every batch of the validation data, resumable at any point.

A piece of work is some units on one batch; what it tells is kept by batch and unit. However the work is cut and in
whatever order it is done, by one process or by several, each batch is the same and so is every number.
"""

import copy
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final, final

import torch
from torch import Tensor, nn

from tinyml.analysis.sensitivity.changes import Change
from tinyml.analysis.sensitivity.evidence import Evidence, evidence_of
from tinyml.analysis.sensitivity.suffix import WholeForward, forward_of
from tinyml.analysis.sensitivity.units import Patterns, Unit, changed
from tinyml.data import Split, Task
from tinyml.errors import RecipeError
from tinyml.graph.capture import LeftAlone
from tinyml.layers.attachment import Attachment, attached
from tinyml.layers.quantizers import weight_quantizers
from tinyml.training.evaluation import BATCH_SIZE, placed

UNCHANGED: Final = "(unchanged)"
"""Name of the unit that stands for the network as it is."""

Told = Mapping[str, Sequence[Evidence]]
"""What a batch tells of each unit: one piece of evidence a level."""


@final
@dataclass(frozen=True, kw_only=True)
class ScanSettings:
    """What is scanned; the numbers depend on all of it.

    Attributes:
        levels: in the order of the curves.
        patterns: which layers.
        batch_size: examples a batch.
        device: where torch computes.
    """

    levels: tuple[float, ...]
    patterns: Patterns = field(default_factory=Patterns)
    batch_size: int = BATCH_SIZE
    device: str = "cpu"


@final
@dataclass(frozen=True, kw_only=True)
class Piece:
    """Some units (by name) on one batch."""

    batch: int
    units: tuple[str, ...]


@final
class Scanner:
    """A network made ready to be scanned.

    Attributes:
        units: what is changed, one at a time; the network as it is comes first.
        left_alone: what cannot be changed, and why.
        split: whether the part before the changed unit is computed once; else every run is a whole forward.
    """

    def __init__(self, module: nn.Module, task: Task, split: Split, change: Change, settings: ScanSettings) -> None:
        """Take a copy of the module, in eval mode.

        Raises:
            RecipeError: The weights are codes already, or masked where the pass comes before masks; a pattern matches
                nothing; or no layer is left to change.
        """
        self._task, self._data, self._settings = task, split, settings
        if weight_quantizers(module):
            raise RecipeError("the weights are codes already: scan the float checkpoint that they were made from")
        if change.comes_first and any(True for _ in attached(module)):
            raise RecipeError(
                "an earlier pass has attached masks or codebooks to whole layers, and this one comes before it: scan "
                "the checkpoint that it started from"
            )
        own = _plain_copy(module)
        found = change.units(own, task.input_shape, settings.patterns)
        self._module = own.to(settings.device)
        example = placed(torch.from_numpy(task.inputs(split.x[:2])), self._module)
        self._forward = forward_of(self._module, example)
        self.split = not isinstance(self._forward, WholeForward)
        idle = {unit.name for unit in found.units if not self._forward.reads(unit)}
        calls = [LeftAlone(module=name, reason="the network does not call it") for name in idle]
        self.left_alone = (*found.left_alone, *calls)
        scanned = [unit for unit in found.units if unit.name not in idle]
        if not scanned:
            reasons = "; ".join(f"{item.module or 'the network'}: {item.reason}" for item in self.left_alone[:8])
            raise RecipeError(f"there is no layer to scan ({reasons or 'the model has none'})")
        whole = Unit(name=UNCHANGED, tensors=(), size=0, values=lambda _: {})
        self.units = (whole, *scanned)

    @property
    def batches(self) -> int:
        """Number of batches."""
        return -(-len(self._data) // self._settings.batch_size)

    def levels_of(self, unit: str) -> tuple[float, ...]:
        """Return the levels of a unit; the network as it is has one."""
        return (0.0,) if unit == UNCHANGED else self._settings.levels

    def run(self, piece: Piece) -> Iterator[tuple[str, list[Evidence]]]:
        """Yield each unit of a piece, as the network meets them, with what it tells at each level."""
        start = piece.batch * self._settings.batch_size
        rows = slice(start, start + self._settings.batch_size)
        x, y = self._task.inputs(self._data.x[rows]), self._data.y[rows]
        units = [unit for unit in self.units if unit.name in piece.units]
        reference: Tensor | None = None
        with torch.inference_mode():
            for visit in self._forward.visits(placed(torch.from_numpy(x), self._module), units):
                reference = visit.outputs() if reference is None else reference
                told = []
                for level in self.levels_of(visit.unit.name):
                    with changed(self._module, visit.unit.values(level)):
                        told.append(evidence_of(self._task, visit.outputs(), y, x, reference))
                yield visit.unit.name, told


def _plain_copy(module: nn.Module) -> nn.Module:
    """Return a copy in eval mode whose layers hold the weights that the network uses, without what made them.

    torch's own remove_parametrizations changes the class of the layer, which a copy shares with the original.
    """
    own = copy.deepcopy(module).eval()
    for name in {each.parameter.rpartition(".")[0] for each in attached(own)}:
        layer = own.get_submodule(name)
        parametrizations = layer.parametrizations
        assert isinstance(parametrizations, nn.ModuleDict)
        if any(not isinstance(each, Attachment) for chain in parametrizations.values() for each in chain.children()):
            continue  # what a user's own code computes stays so
        effective = {tensor: getattr(layer, tensor).detach().clone() for tensor in parametrizations}
        del layer.parametrizations
        layer.__class__ = type(layer).__mro__[1]
        for tensor, value in effective.items():
            layer.register_parameter(tensor, nn.Parameter(value))
    return own


@final
class Scan:
    """What batches have told so far.

    Attributes:
        told: by the number of the batch.
    """

    def __init__(self, told: Mapping[int, Told] | None = None) -> None:
        self.told: dict[int, dict[str, list[Evidence]]] = {
            batch: {unit: list(parts) for unit, parts in units.items()} for batch, units in (told or {}).items()
        }

    def add(self, batch: int, unit: str, told: list[Evidence]) -> None:
        """Keep what a unit told of a batch."""
        self.told.setdefault(batch, {})[unit] = told

    def done(self) -> int:
        """Return how many pairs of batch and unit are there."""
        return sum(map(len, self.told.values()))

    def missing(self, scanner: Scanner, *, parts: int) -> list[Piece]:
        """Return what is left to do, the units of each batch dealt to so many pieces in turn: early ones cost more."""
        pieces = []
        for batch in range(scanner.batches):
            known = self.told.get(batch, {})
            names = [unit.name for unit in scanner.units if unit.name not in known]
            dealt = [tuple(names[first::parts]) for first in range(parts)]
            pieces += [Piece(batch=batch, units=units) for units in dealt if units]
        return pieces

    def evidence(self, unit: str, level: int, batches: int) -> list[Evidence]:
        """Return what all batches told of a unit at a level (its index)."""
        return [self.told[batch][unit][level] for batch in range(batches)]
