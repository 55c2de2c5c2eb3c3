"""Groups of channels as units of a scan: a channel that is zero everywhere stands for one that is cut.

    kept(s) = max(1, round(C (1 - s)))    channels of the largest L2 norm over the group, of C

Zero and cut are the same where nothing divides by the number of channels; each group is tried, both ways, on random
inputs, and left alone where the answers differ.
"""

from collections.abc import Sequence
from functools import partial
from typing import Final

import torch
from torch import Tensor, nn
from torch.func import functional_call

from tinyml.analysis.sensitivity.units import FoundUnits, Patterns, Unit, Values
from tinyml.errors import first_line
from tinyml.graph.capture import LeftAlone
from tinyml.graph.channel_dependencies import PRODUCERS
from tinyml.graph.channel_groups import ChannelGroup
from tinyml.graph.channel_search import find_channel_groups
from tinyml.graph.channel_surgery import Cut, without_channels
from tinyml.importance import IMPORTANCES, Evidence
from tinyml.passes.channel_counts import best_channels
from tinyml.passes.layer_patterns import check_patterns, why_left_out

STATISTICS: Final = ("running_mean", "running_var")
"""Of a BatchNorm they stay: with scale and shift 0 its answer is 0 whatever they are."""

TOLERANCE: Final = 1e-4
"""Largest difference between zero and cut, as a share of the largest output: float32 sums in another order."""


def channel_units(module: nn.Module, input_shape: tuple[int, ...], patterns: Patterns) -> FoundUnits:
    """Return the groups of channels of a network (on the CPU) that channel_pruning can cut."""
    names = [name for name, layer in module.named_modules() if isinstance(layer, PRODUCERS)]
    check_patterns((*patterns.include, *patterns.exclude), names, of="channel_pruning")
    found = find_channel_groups(module, input_shape)
    evidence = Evidence(seed=0, weights={name: each.detach().clone() for name, each in module.state_dict().items()})
    units, left = [], list(found.left_alone)
    for group in found.groups:
        reason = _left_out(group, patterns) or IMPORTANCES["l2"].fault(group, evidence)
        if not reason:
            unit = _unit(group, evidence)
            reason = _misfit(module, input_shape, group, unit)
        if reason:
            left.append(LeftAlone(module=group.name, reason=reason))
        else:
            units.append(unit)
    return FoundUnits(units=tuple(units), left_alone=tuple(left))


def _unit(group: ChannelGroup, evidence: Evidence) -> Unit:
    scores = IMPORTANCES["l2"].score(group, evidence)
    names = dict.fromkeys(part.parameter for part in group.slices if not part.parameter.endswith(STATISTICS))
    own = {name: evidence.weights[name] for name in names}
    return Unit(name=group.name, tensors=tuple(names), size=group.channels, values=partial(_zeroed, group, scores, own))


def _kept(group: ChannelGroup, scores: Tensor, sparsity: float) -> Tensor:
    return best_channels(scores, max(1, round(group.channels * (1 - sparsity))))


def _zeroed(group: ChannelGroup, scores: Tensor, own: Values, sparsity: float) -> Values:
    """Return the tensors of a group in which the channels of the lowest scores are zero."""
    removed = Cut(group=group, kept=_kept(group, scores, sparsity)).removed
    values = {name: tensor.clone() for name, tensor in own.items()}
    for part in group.slices:
        if part.parameter in values:
            values[part.parameter].index_fill_(part.dimension, part.index[removed].flatten(), 0)
    return values


def _left_out(group: ChannelGroup, patterns: Patterns) -> str:
    """Return why the patterns leave the group out: one excluded layer is enough, one included layer is needed."""
    makers = [part.parameter.rpartition(".")[0] for part in group.slices if part.role == "output"]
    everything = ("*",)
    excluded = [why_left_out(name, include=everything, exclude=patterns.exclude) for name in makers]
    included = [why_left_out(name, include=patterns.include, exclude=()) for name in makers]
    return next(filter(None, excluded), "") or ("" if "" in included else included[0])


def _misfit(module: nn.Module, input_shape: Sequence[int], group: ChannelGroup, unit: Unit) -> str:
    """Return why zero channels would not stand for channels that are cut, "" where they do."""
    inputs = torch.randn(2, *input_shape, generator=torch.Generator().manual_seed(0))
    share = 0.5
    values = unit.values(share)
    scores = IMPORTANCES["l2"].score(group, Evidence(seed=0, weights=module.state_dict()))
    try:
        with torch.no_grad():
            zeroed = functional_call(module, dict(values), (inputs,))
            cut = without_channels(module, [Cut(group=group, kept=_kept(group, scores, share))])(inputs)
    except Exception as error:  # whatever a user's forward raises
        return f"the forward fails without some of its channels ({first_line(error)})"
    if bool(((zeroed - cut).abs() <= TOLERANCE * cut.abs().max()).all()):
        return ""
    return "channels that are zero do not stand for channels that are cut: something counts them"
