"""Taylor: the squared first-order change of the loss when a channel is taken out.

    score_c = mean over images of (sum over w in the weights that read the channel of  w g)^2,   g = d loss / d w

Zeros in the weights that read a channel take it out of the function, so the sum is the change of the loss to first
order. Source: Molchanov et al. 2019 (arXiv:1906.10771), equation 8, with all weights that read the channel as one
set; the square is taken image by image, not of the mean gradient, which vanishes where training has ended. In units
of loss squared: scores of all groups are compared as they are.
"""

from collections.abc import Sequence
from typing import ClassVar, final

from torch import Tensor

from tinyml.graph.channel_groups import ChannelGroup, Slice
from tinyml.importance.base import Evidence, Need
from tinyml.importance.weight_criteria import ConsumerCriterion


@final
class Taylor(ConsumerCriterion):
    """The squared first-order effect."""

    needs: ClassVar[Need] = "gradients"

    def formula(self, parts: Sequence[Slice], group: ChannelGroup, evidence: Evidence) -> Tensor:
        """Return the evidence itself: it was summed up where the gradients were."""
        return evidence.squared_effects[group.name]
