"""Hessian diagonal (OBD): the second-order rise of the loss when a channel is taken out, weight by weight.

    score_c = r_c / mean_d r_d,   r_c = sum over w in the weights that read the channel of  h w^2 / 2,
    h = mean over images of g^2,   g = d loss / d w

Source: LeCun, Denker and Solla 1990 (optimal brain damage): at a minimum the gradient vanishes and the saliency of a
weight is h w^2 / 2. The diagonal h is that of the empirical Fisher matrix, the mean of squared gradients of single
images: it needs one backward pass an image and is never negative; Hutchinson's estimate needs second derivatives, is
noisy and can be negative. Relative to the mean of the group: a diagonal leaves out how weights of one channel act
together, and by how much differs from layer to layer, so that r alone empties late layers first.
"""

from collections.abc import Sequence
from typing import ClassVar, final

import torch
from torch import Tensor

from tinyml.graph.channel_groups import ChannelGroup, Slice
from tinyml.importance.base import Evidence, Need
from tinyml.importance.slices import channel_sums, position_sums, relative
from tinyml.importance.weight_criteria import ConsumerCriterion


@final
class Hessian(ConsumerCriterion):
    """The saliency of a channel's weights."""

    needs: ClassVar[Need] = "gradients"

    def formula(self, parts: Sequence[Slice], group: ChannelGroup, evidence: Evidence) -> Tensor:
        """Return the relative sum of the saliencies."""
        return relative(torch.stack([self._saliency(part, evidence) for part in parts]).sum(dim=0))

    def _saliency(self, part: Slice, evidence: Evidence) -> Tensor:
        saliencies = evidence.weights[part.parameter].square() * evidence.squared_gradients[part.parameter] / 2
        return channel_sums(position_sums(saliencies, part.dimension), part)
