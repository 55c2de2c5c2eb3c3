"""How many channels of each group stay: by one share for all, by one ranking over all, or so that a goal is met.

    uniform   round(channels (1 - sparsity)) of each group
    global    all channels are ranked together, and the share `sparsity` of them that scores lowest goes

rounded to the nearest count of which the layer's channels are a multiple of what the target likes.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from tinyml.graph.channel_groups import ChannelGroup

Scope = Literal["uniform", "global"]
Counts = Mapping[str, int]
"""How many channels of each group stay, by its name."""

_HALVINGS = 24  # the sparsity is found to 6e-8, finer than one channel of any network


@dataclass(frozen=True, kw_only=True)
class Allotment:
    """The rule by which a sparsity becomes counts.

    Attributes:
        groups: what can be cut.
        scores: (channels,) of every group, by its name.
        scope: uniform or global.
        fixed: sparsity of the groups that have one of their own, by name.
        multiple: channels of a layer that stay are a multiple of this, or all of them.
        minimum: channels of a layer that stay at least.
    """

    groups: Sequence[ChannelGroup]
    scores: Mapping[str, Tensor]
    scope: Scope
    fixed: Mapping[str, float]
    multiple: int
    minimum: int

    def counts(self, sparsity: float) -> Counts:
        """Return the counts at a sparsity from 0 to 1 of the groups that have none of their own."""
        free = [group for group in self.groups if group.name not in self.fixed]
        wanted = {group.name: _share(group, self.fixed.get(group.name, sparsity)) for group in self.groups}
        if self.scope == "global":
            wanted |= _ranked(free, self.scores, sparsity)
        return {group.name: self._rounded(group, wanted[group.name]) for group in self.groups}

    def _rounded(self, group: ChannelGroup, wanted: int) -> int:
        """Return the allowed count that is nearest to what is wanted, the larger of two."""
        return min(self.allowed(group), key=lambda count: (abs(count - wanted), -count))

    def allowed(self, group: ChannelGroup) -> list[int]:
        """Return the counts that may stay, in rising order."""
        step = self.multiple // math.gcd(self.multiple, group.width)
        least = min(group.channels, max(1, math.ceil(self.minimum / group.width)))
        return [*(count for count in range(least, group.channels) if count % step == 0), group.channels]

    def meet(self, share: Callable[[Counts], float], goal: float) -> Counts:
        """Return counts that bring a share (of MACs, of parameters) down to a goal, or the smallest where none do.

        No group could keep its next larger count then. The sparsity is found by bisection; after it, groups take turns.

        Args:
            share: what a network with these counts has of the whole; falls with every count.
            goal: 0-1.
        """
        low, high = 0.0, 1.0
        if share(self.counts(high)) > goal:
            return self.counts(high)
        for _ in range(_HALVINGS):
            middle = (low + high) / 2
            low, high = (low, middle) if share(self.counts(middle)) <= goal else (middle, high)
        return self._filled(dict(self.counts(high)), lambda counts: share(counts) <= goal)

    def _filled(self, counts: dict[str, int], fits: Callable[[Counts], bool]) -> Counts:
        """Return the counts after every group has taken, in turns, as many further steps as fit."""
        open_groups = [group for group in self.groups if group.name not in self.fixed]
        while open_groups:
            still_open = []
            for group in open_groups:
                larger = [count for count in self.allowed(group) if count > counts[group.name]]
                if larger and fits({**counts, group.name: larger[0]}):
                    counts[group.name] = larger[0]
                    still_open.append(group)
            open_groups = still_open
        return counts


def _share(group: ChannelGroup, sparsity: float) -> int:
    return round(group.channels * (1 - sparsity))


def _ranked(groups: Sequence[ChannelGroup], scores: Mapping[str, Tensor], sparsity: float) -> dict[str, int]:
    """Return how many channels of each group stay when the lowest of all go; of equal ones the last go first."""
    if not groups:
        return {}
    everything = torch.cat([scores[group.name] for group in groups])
    owner = torch.repeat_interleave(torch.arange(len(groups)), torch.tensor([group.channels for group in groups]))
    best = torch.argsort(everything, descending=True, stable=True)[: round(len(everything) * (1 - sparsity))]
    stay = torch.bincount(owner[best], minlength=len(groups))
    return {group.name: int(count) for group, count in zip(groups, stay, strict=True)}


def best_channels(scores: Tensor, count: int) -> Tensor:
    """Return int64 (count,): the channels that score highest, in rising order; of equal scores the first."""
    return torch.argsort(scores, descending=True, stable=True)[:count].sort().values
