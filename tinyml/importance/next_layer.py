"""Next layer: the L2 norm of the weights that read a channel, relative to that of the group's other channels.

    score_c = mean over the reading tensors of  ||w_c|| / mean_d ||w_d||

A channel that the next layers hardly weigh can go. Source: He et al. 2017 (arXiv:1707.06168) prune a layer by what
the next one reads, there with LASSO; the norm alone is what courses on pruning teach.
"""

from collections.abc import Sequence
from typing import final

from torch import Tensor

from tinyml.graph.channel_groups import ChannelGroup, Slice
from tinyml.importance.base import Evidence
from tinyml.importance.magnitude import norms
from tinyml.importance.slices import mean_relative
from tinyml.importance.weight_criteria import ConsumerCriterion


@final
class NextLayer(ConsumerCriterion):
    """The L2 norm over the readers."""

    def formula(self, parts: Sequence[Slice], group: ChannelGroup, evidence: Evidence) -> Tensor:
        """Return the mean relative norm."""
        return mean_relative(parts, lambda part: norms(part, evidence, 2))
