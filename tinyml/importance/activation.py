"""Activation: the mean size of what the readers of a channel get from it, relative to the group's other channels.

    score_c = mean over the reading tensors of  a_c / mean_d a_d,   a_c = mean over images and places of |x_c|

Measured where a channel is read (behind normalization, rectifier and residual sum), because only what is read counts.
Sources: Hu et al. 2016 (arXiv:1607.03250) count zeros behind the rectifier; Molchanov et al. 2017 (arXiv:1611.06440)
name the mean activation as a criterion.
"""

from collections.abc import Sequence
from typing import ClassVar, final

from torch import Tensor

from tinyml.graph.channel_groups import ChannelGroup, Slice
from tinyml.importance.base import Criterion, Evidence, Need
from tinyml.importance.slices import channel_sums, consumers, mean_relative


@final
class Activation(Criterion):
    """The mean absolute activation."""

    needs: ClassVar[Need] = "activations"
    parts_wanted: ClassVar[str] = "layer that reads its channels and is called by the network"

    def parts(self, group: ChannelGroup, evidence: Evidence) -> Sequence[Slice]:
        """Return what reads the channels and was seen at it."""
        return tuple(part for part in consumers(group, evidence) if part.parameter in evidence.activations)

    def formula(self, parts: Sequence[Slice], group: ChannelGroup, evidence: Evidence) -> Tensor:
        """Return the mean relative activation."""
        return mean_relative(parts, lambda part: channel_sums(evidence.activations[part.parameter], part))
