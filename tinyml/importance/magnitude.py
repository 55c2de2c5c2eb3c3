"""Magnitude: the norm of all weights that hang on a channel, relative to that of the group's other channels.

    score_c = mean over the tensors of the group of  ||w_c|| / mean_d ||w_d||

The tensors are the weights that make the channel and those that read it. Sources: Li et al. 2017 (arXiv:1608.08710),
the L1 norm of a filter; Fang et al. 2023 (DepGraph, arXiv:2301.12900), the sum over all coupled tensors. Ours takes
each tensor relative to its mean first, so that one with large weights does not drown the others and groups can be
compared; and it leaves out the scales of normalizations, which DepGraph adds: with them, trained residual networks
lost more accuracy.
"""

from collections.abc import Sequence
from typing import Literal, final

from torch import Tensor

from tinyml.graph.channel_groups import ChannelGroup, Slice
from tinyml.importance.base import Evidence
from tinyml.importance.slices import channel_sums, mean_relative, position_sums
from tinyml.importance.weight_criteria import WeightCriterion


def norms(part: Slice, evidence: Evidence, order: Literal[1, 2]) -> Tensor:
    """Return float64 (channels,): the L1 or L2 norm of the weights of one slice that belong to each channel."""
    weight = evidence.weights[part.parameter]
    powers = weight.abs() if order == 1 else weight.square()
    sums = channel_sums(position_sums(powers, part.dimension), part)
    return sums if order == 1 else sums.sqrt()


@final
class Magnitude(WeightCriterion):
    """The L1 or L2 norm over the group."""

    def __init__(self, order: Literal[1, 2]) -> None:
        self.order = order

    def formula(self, parts: Sequence[Slice], group: ChannelGroup, evidence: Evidence) -> Tensor:
        """Return the mean relative norm."""
        return mean_relative(parts, lambda part: norms(part, evidence, self.order))
