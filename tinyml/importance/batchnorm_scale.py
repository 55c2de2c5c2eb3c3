"""BatchNorm scale: the size of the factor gamma that a BatchNorm (or another normalization) gives a channel.

    score_c = mean over the normalizations of the group of  |gamma_c|

Source: Liu et al. 2017 (network slimming, arXiv:1708.06519), after a training that pushes gamma towards zero. Taken
as it is, as in the paper: one threshold on |gamma| holds for all layers. A group without such a factor is not scored:
any number would be a guess on another scale.
"""

from collections.abc import Sequence
from typing import ClassVar, final

import torch
from torch import Tensor

from tinyml.graph.channel_groups import ChannelGroup, Slice
from tinyml.importance.base import Criterion, Evidence
from tinyml.importance.slices import channel_sums, position_sums, scaling


@final
class BatchNormScale(Criterion):
    """The mean |gamma| of a channel."""

    parts_wanted: ClassVar[str] = "normalization with a scale for each channel"

    def parts(self, group: ChannelGroup, evidence: Evidence) -> Sequence[Slice]:
        """Return the scales."""
        return scaling(group, evidence)

    def formula(self, parts: Sequence[Slice], group: ChannelGroup, evidence: Evidence) -> Tensor:
        """Return the mean over the normalizations, and over the k positions of a channel."""
        sizes = [position_sums(evidence.weights[part.parameter].abs(), part.dimension) for part in parts]
        means = [channel_sums(size, part) / part.index.shape[1] for size, part in zip(sizes, parts, strict=True)]
        return torch.stack(means).mean(dim=0)
