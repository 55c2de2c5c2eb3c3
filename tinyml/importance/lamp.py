"""LAMP: the share of a channel in the energy of the channels of its group that are at least as strong.

    score_c = e_c / (sum over d with e_d >= e_c of e_d)
    e_c     = mean over the tensors that make or read the channels of  ||w_c||^2 / mean_d ||w_d||^2

The strongest channel of every group scores 1, so a global threshold never empties a group. Source: Lee et al. 2021
(arXiv:2010.07611), there on single weights; ours is the same on the energies of channels. As in the paper, equal
energies are put in an order (of channels) and the later one scores higher.
"""

from collections.abc import Sequence
from typing import final

import torch
from torch import Tensor

from tinyml.graph.channel_groups import ChannelGroup, Slice
from tinyml.importance.base import Evidence
from tinyml.importance.magnitude import norms
from tinyml.importance.slices import mean_relative
from tinyml.importance.weight_criteria import WeightCriterion


def shares_of_stronger(energies: Tensor) -> Tensor:
    """Return (n,): each energy (n,), none negative, over the sum of itself and those after it in ascending order."""
    ordered, order = energies.sort(stable=True)
    stronger = ordered.flip(0).cumsum(0).flip(0)
    shares = torch.where(ordered > 0, ordered / stronger, 0.0)
    return torch.empty_like(shares).scatter_(0, order, shares)


@final
class Lamp(WeightCriterion):
    """The layer-adaptive magnitude of a channel."""

    def formula(self, parts: Sequence[Slice], group: ChannelGroup, evidence: Evidence) -> Tensor:
        """Return the shares of the mean relative energies."""
        return shares_of_stronger(mean_relative(parts, lambda part: norms(part, evidence, 2).square()))
