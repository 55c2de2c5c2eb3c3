"""Trials of channel groups on a copy with random weights: nothing is believed about a group that was not seen there.

A set of groups passes when, on random inputs at several batch sizes,

1. renaming the channels of every group (one permutation of each) leaves the outputs as they are: every tensor that
   hangs on the channels is in the group, at the right positions;
2. the forward runs without some of the channels, and gives outputs of the same shape;
3. its outputs are then those of the whole network in which these channels are zero: nothing else reads them. There,
   norms over channels see the remaining ones only, and attention takes its default scale from the remaining width.

Weights are random because real ones may hide a fault: a branch that training has scaled to zero may be cut in any way.
"""

import copy
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Literal, final

import torch
from torch import Tensor, nn
from torch.func import functional_call

from tinyml.errors import first_line
from tinyml.graph.channel_dependencies import Place
from tinyml.graph.channel_groups import ChannelGroup
from tinyml.graph.channel_masking import AttentionWidths, RemainingChannels
from tinyml.graph.channel_probe import probed_index
from tinyml.graph.channel_surgery import Cut, permuted_tensors, without_channels
from tinyml.graph.network_outputs import outputs_of

TOLERANCE = 1e-4
"""Largest difference, as a share of the largest output; rounding of float32 in another order stays well below."""


@dataclass(frozen=True, kw_only=True)
class Verdict:
    """How far a trial came: which of its steps (1-3) failed and what was seen; 4 and "" where none did."""

    step: Literal[1, 2, 3, 4]
    reason: str = ""

    @property
    def passed(self) -> bool:
        """Whether the groups can be cut."""
        return self.step == 4


MISPLACED: Final = Verdict(
    step=1, reason="it is not known which positions of the layers that share its channels belong together"
)


@final
class Trial:
    """One network, made ready once for any number of trials."""

    def __init__(self, model: nn.Module, input_shape: tuple[int, ...], *, seed: int = 0) -> None:
        """Copy the model, with random weights and inputs by the seed.

        Raises:
            TypeError: The model returns something else than one tensor, or one for each of its exits.
            Exception: whatever its forward raises.
        """
        self._generator = torch.Generator().manual_seed(seed)
        self._inputs = torch.randn(4, *input_shape, generator=self._generator)
        self._model = copy.deepcopy(model).eval().float()
        _randomize(self._model, self._generator)
        _settle(self._model, self._inputs)
        self._tensors = self._model.state_dict()
        self._outputs = _run(self._model, self._inputs[:2])

    def of(self, groups: Sequence[ChannelGroup]) -> Verdict:
        """Return the verdict on cutting any channels of these groups together."""
        if not self.renames(groups):
            return MISPLACED
        for most in (1, 3):  # of three channels, once in any group and once in all
            cuts = [Cut(group=group, kept=self._draw(group, most)) for group in groups]
            verdict = self._without(cuts, batch=2 if most == 3 else 1)
            if not verdict.passed:
                return verdict
        return Verdict(step=4)

    def probed(self, places: Sequence[Place]) -> Mapping[Place, Tensor]:
        """Return the positions that belong together at these places, by experiment; nothing where it fails."""
        try:
            return probed_index(self._model, places, self._inputs[:1])
        except Exception:  # whatever a user's forward raises when its layers repeat what they said
            return {}

    def _draw(self, group: ChannelGroup, most: int) -> Tensor:
        """Return random channels to keep: all but one, or two thirds."""
        removed = 1 if most == 1 else max(1, group.channels // most)
        return torch.randperm(group.channels, generator=self._generator)[removed:].sort().values

    def renames(self, groups: Sequence[ChannelGroup]) -> bool:
        """Return whether renaming the channels of all groups leaves the outputs: in one cycle, so that none stays."""
        orders = []
        for group in groups:
            cycle = torch.randperm(group.channels, generator=self._generator)
            orders.append((group, torch.empty_like(cycle).scatter_(0, cycle, cycle.roll(1))))
        renamed = {**self._tensors, **permuted_tensors(self._tensors, orders)}
        return self._same(_run(lambda x: functional_call(self._model, renamed, (x,)), self._inputs[:2]), self._outputs)

    def _without(self, cuts: Sequence[Cut], *, batch: int) -> Verdict:
        """Return the verdict on one cut."""
        inputs = self._inputs[-batch:]
        widths = AttentionWidths()
        try:
            with widths:
                outputs = _run(without_channels(self._model, cuts), inputs)
        except Exception as error:  # whatever a user's forward raises
            return Verdict(step=2, reason=f"the forward fails without some of its channels ({first_line(error)})")
        masked = {**self._tensors, **_zeroed(self._tensors, cuts)}
        with RemainingChannels(_remaining(masked, cuts), widths.seen):
            expected = _run(lambda x: functional_call(self._model, masked, (x,)), inputs)
        if outputs.shape != expected.shape:
            return Verdict(step=2, reason="its channels are outputs of the network")
        if not self._same(outputs, expected):
            return Verdict(
                step=3, reason="without some of its channels the network computes something else of the others"
            )
        return Verdict(step=4)

    def _same(self, outputs: Tensor, expected: Tensor) -> bool:
        """Return whether two outputs agree; NaN never does."""
        if outputs.shape != expected.shape:
            return False
        return bool((outputs - expected).abs().max() <= TOLERANCE * expected.abs().max().clamp_min(1e-30))


@torch.no_grad()
def _run(model: Callable[[Tensor], Any], inputs: Tensor) -> Tensor:
    """Return the outputs (N, ...), those of exits side by side as (N, all of them)."""
    outputs = outputs_of(model(inputs))
    return outputs[0] if len(outputs) == 1 else torch.cat([each.flatten(1) for each in outputs], dim=1)


@torch.no_grad()
def _randomize(model: nn.Module, generator: torch.Generator) -> None:
    """Draw every parameter: matrices for signals that neither grow nor vanish, scales around 1, offsets around 0."""
    for name, parameter in model.named_parameters():
        if not parameter.is_floating_point():
            continue
        if parameter.ndim > 1:
            deviation = math.sqrt(2 / max(1, parameter[0].numel()))
            parameter.normal_(0, deviation, generator=generator)
        elif name.endswith("bias"):
            parameter.normal_(0, 0.3, generator=generator)
        else:
            parameter.uniform_(0.5, 1.5, generator=generator)


@torch.no_grad()
def _settle(model: nn.Module, inputs: Tensor) -> None:
    """Give every BatchNorm the statistics of the inputs, so that random weights do not drive signals away."""
    norms = [module for module in model.modules() if isinstance(module, nn.modules.batchnorm._BatchNorm)]
    momenta = [norm.momentum for norm in norms]
    for norm in norms:
        norm.momentum = 1.0
        norm.train()
    try:
        model(inputs)
    finally:
        for norm, momentum in zip(norms, momenta, strict=True):
            norm.momentum = momentum
            norm.eval()


def _zeroed(tensors: Mapping[str, Tensor], cuts: Sequence[Cut]) -> dict[str, Tensor]:
    """Return the tensors that change when everything that belongs to the removed channels is zero."""
    changed: dict[str, Tensor] = {}
    for cut in cuts:
        for part in cut.group.slices:
            tensor = changed.get(part.parameter, tensors[part.parameter].clone())
            changed[part.parameter] = tensor.index_fill_(part.dimension, part.index[cut.removed].flatten(), 0.0)
    return changed


def _remaining(masked: Mapping[str, Tensor], cuts: Sequence[Cut]) -> list[tuple[Tensor, Tensor]]:
    """Return the scales of norms in the groups, each with the positions that remain."""
    gone: dict[str, list[Tensor]] = {}
    for cut in cuts:
        for part in cut.group.slices:
            if masked[part.parameter].ndim == 1:
                gone.setdefault(part.parameter, []).append(part.index[cut.removed].flatten())
    remaining = []
    for name, positions in gone.items():
        stays = torch.ones(len(masked[name]), dtype=torch.bool)
        stays[torch.cat(positions)] = False
        remaining.append((masked[name], stays.nonzero().flatten()))
    return remaining
