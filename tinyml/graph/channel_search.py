"""Find the groups of channels of a network that can be cut, each proven by trial; the rest is left alone with a reason.

What torch-pruning proposes is tried first, all groups at once; where that fails, half of them, and so on. A coupling
that fails alone is tried with coarser channels, several positions that go together (channel_units.py); where positions
are wrong, with those that a probe sees (channel_probe.py); at last together with the couplings of the same layers that
fail too: the width of a transformer and that of its heads.
"""

import copy
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final, final

import torch
from torch import Tensor, nn

from tinyml.errors import first_line
from tinyml.graph.capture import LeftAlone
from tinyml.graph.channel_dependencies import PRODUCERS, Coupling, Dependencies, Place, trace_dependencies
from tinyml.graph.channel_groups import ChannelGroup
from tinyml.graph.channel_layers import Unsuited, layer_fault, place_size
from tinyml.graph.channel_trial import MISPLACED, Trial, Verdict
from tinyml.graph.channel_units import group_of, largest_units, single_positions, smaller_counts
from tinyml.graph.shared_parameters import parameter_names

_SHOWN: Final = 3


@dataclass(frozen=True, kw_only=True)
class Found:
    """The groups that can be cut, in the order of the modules and in any combination; and the layers that cannot."""

    groups: tuple[ChannelGroup, ...]
    left_alone: tuple[LeftAlone, ...]


def find_channel_groups(model: nn.Module, input_shape: tuple[int, ...]) -> Found:
    """Return the groups of channels that can be cut from a model; the model stays as it is.

    Args:
        model: any module that maps a batch (N, *input_shape) to one tensor.
        input_shape: shape of one input.
    """
    private = copy.deepcopy(model).cpu().eval().float()
    for parameter in private.parameters():
        parameter.requires_grad_(parameter.is_floating_point())
    try:
        dependencies = trace_dependencies(private, torch.zeros(2, *input_shape))
        trial = Trial(private, input_shape)
    except Exception as error:  # whatever torch-pruning or a user's forward raises
        reason = f"its layers cannot be traced ({first_line(error)})"
        return Found(groups=(), left_alone=(LeftAlone(module="", reason=reason),))
    return _Search(model, dependencies, trial).result()


@final
class _Search:
    """One search: what is accepted so far, and the best reason against what is not."""

    def __init__(self, model: nn.Module, dependencies: Dependencies, trial: Trial) -> None:
        self.model, self.dependencies, self.trial = model, dependencies, trial
        names = parameter_names(model, every_place=True).values()
        self.shared = {name for several in names if len(several) > 1 for name in several}
        self.accepted: dict[str, ChannelGroup] = {}
        self.against: dict[str, Verdict] = {}

    def result(self) -> Found:
        """Return what is proven, and why the rest is not."""
        couplings = self.dependencies.couplings
        faults = {each.layer: self._fault(each.layer, tuple(each.index) or each.reach) for each in couplings}
        possible = [each for each in couplings if not faults[each.layer]]
        self._accept({each.layer: group for each in possible if (group := self._group(each.layer, each.index))})
        failed = [each for each in possible if each.layer not in self.accepted]
        # Groups of convolutions and norms take coarser channels; together, because most of them pass.
        grouped = [each for each in failed if self.against.get(each.layer, MISPLACED) is not MISPLACED]
        self._accept({each.layer: group for each in grouped if (group := self._finest(each.layer, each.index))})
        for coupling in failed:
            if coupling.layer not in self.accepted:
                self._accept_in_other_positions(coupling)
        failed = [each for each in failed if each.layer not in self.accepted]
        for together in _connected(failed):
            if len(together) > 1 and self._accept_coarser(together[0].layer, self._single_positions(together)):
                failed = [each for each in failed if each not in together]
        reasons = {**faults, **{each.layer: self._reason(each.layer) for each in failed}}
        order = [name for name, _ in self.model.named_modules()]
        groups = sorted(self.accepted.values(), key=lambda group: order.index(group.name))
        return Found(groups=tuple(groups), left_alone=self._left_alone(reasons))

    def _fault(self, name: str, places: Sequence[Place]) -> str:
        """Return why a coupling cannot be cut whatever the positions, "" where it may be."""
        for place in places:
            if fault := self._place_fault(place):
                return fault if place.name == name else f"it shares its channels with '{place.name}': {fault}"
        if not any(place.side == "input" for place in places):
            return "its channels are outputs of the network"
        return "it has one channel only" if max(place_size(self.model, place) for place in places) == 1 else ""

    def _place_fault(self, place: Place) -> str:
        calls = self.dependencies.calls.get(place.name, 0)
        if place.side == "parameter":
            return f"'{place.name}' is used under two names" if place.name in self.shared else ""
        layer = self.model.get_submodule(place.name)
        if calls > 1:
            return f"its forward is called {calls} times for one input"
        if any(f"{place.name}.{name}" in self.shared for name, _ in layer.named_parameters(recurse=False)):
            return "its weight is used under two names (tied weights)"
        return layer_fault(layer)

    def _group(self, name: str, index: Mapping[Place, Tensor]) -> ChannelGroup | None:
        """Return the group of these positions; None, with a note why, where they suit no group."""
        try:
            return group_of(self.model, index, tuple(self.accepted.values()))
        except Unsuited as error:
            self._note(name, Verdict(step=1, reason=str(error)))
            return None

    def _note(self, name: str, verdict: Verdict) -> None:
        """Keep the reason of the trial that came furthest."""
        if name not in self.against or verdict.step > self.against[name].step:
            self.against[name] = verdict

    def _reason(self, name: str) -> str:
        return self.against.get(name, MISPLACED).reason

    def _accept(self, groups: Mapping[str, ChannelGroup]) -> None:
        """Accept as many of the groups, by coupling, as pass together with those accepted before."""
        if not groups:
            return
        verdict = self.trial.of([*self.accepted.values(), *groups.values()])
        names = list(groups)
        if verdict.passed:
            self.accepted |= groups
        elif len(names) == 1:
            self._note(names[0], verdict)
        else:
            for half in (names[: len(names) // 2], names[len(names) // 2 :]):
                self._accept({name: groups[name] for name in half})

    def _single_positions(self, couplings: Sequence[Coupling]) -> Mapping[Place, Tensor]:
        """Return every position that the couplings reach by itself; nothing where some cannot be cut."""
        places = tuple(dict.fromkeys(place for each in couplings for place in each.reach))
        return {} if self._fault("", places) else single_positions(self.model, places)

    def _units(self, name: str, base: Mapping[Place, Tensor]) -> Iterator[Mapping[Place, Tensor]]:
        """Yield the positions in as many channels as can be renamed, and in fewer."""

        def renames(index: Mapping[Place, Tensor]) -> bool:
            group = self._group(name, index)
            if group is None or self.trial.renames([group]):
                return group is not None
            self._note(name, MISPLACED)
            return False

        if base:
            yield from smaller_counts(base, largest_units(base, renames))

    def _finest(self, name: str, base: Mapping[Place, Tensor]) -> ChannelGroup | None:
        """Return the group with as many channels as can be renamed; None where there is none."""
        index = next(self._units(name, base), None)
        return None if index is None else self._group(name, index)

    def _accept_coarser(self, name: str, base: Mapping[Place, Tensor]) -> bool:
        """Accept the coupling with channels of several rows each; return whether any number of them passed."""
        for index in self._units(name, base):
            if group := self._group(name, index):
                self._accept({name: group})
                if name in self.accepted:
                    return True
        return False

    def _accept_in_other_positions(self, coupling: Coupling) -> None:
        """Accept the coupling with coarser channels, or with the positions that a probe finds, where one passes."""
        name, misplaced = coupling.layer, self.against.get(coupling.layer, MISPLACED) is MISPLACED
        single = self._single_positions([coupling])
        passed = self._accept_coarser(name, coupling.index) or self._accept_coarser(name, single)
        wants_fixed_numbers = not passed and self.against.get(name, MISPLACED).step == 2
        if single and not wants_fixed_numbers and (misplaced or not passed):
            self._accept_probed(coupling)

    def _accept_probed(self, coupling: Coupling) -> None:
        """Accept the coupling with the positions that a probe finds, where that gives more channels than it has."""
        name = coupling.layer
        coarse = self.accepted.pop(name, None)
        self._accept_coarser(name, self.trial.probed(coupling.reach))
        probed = self.accepted.get(name)
        if coarse and (probed is None or coarse.channels >= probed.channels):
            self.accepted[name] = coarse

    def _left_alone(self, reasons: Mapping[str, str]) -> tuple[LeftAlone, ...]:
        left = []
        weighted = [name for name, module in self.model.named_modules() if isinstance(module, PRODUCERS)]
        for coupling in self.dependencies.couplings:
            if reason := reasons[coupling.layer]:
                producers = {each.name for each in (coupling.index or coupling.reach) if each.side == "output"}
                others = [f"'{name}'" for name in weighted if name in producers - {coupling.layer}]
                more = f" and {len(others) - _SHOWN} more" if len(others) > _SHOWN else ""
                with_others = f"; {', '.join(others[:_SHOWN])}{more} with it" if others else ""
                left.append(LeftAlone(module=coupling.layer, reason=reason + with_others))
        seen = {place.name for coupling in self.dependencies.couplings for place in coupling.reach}
        unseen = [name for name in weighted if name not in seen]
        return (*left, *(LeftAlone(module=name, reason="torch-pruning does not see it at work") for name in unseen))


def _connected(couplings: Sequence[Coupling]) -> list[list[Coupling]]:
    """Return the couplings in sets that have layers in common, directly or by others of the set."""
    sets: list[list[Coupling]] = []
    for coupling in couplings:
        names = {place.name for place in coupling.reach}
        near = [each for each in sets if any(place.name in names for other in each for place in other.reach)]
        joined = [*(other for each in near for other in each), coupling]
        sets = [*(each for each in sets if each not in near), joined]
    return sets
