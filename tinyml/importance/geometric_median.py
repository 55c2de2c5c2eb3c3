"""Geometric median (FPGM): how far the filter of a channel lies from all other filters of its layer.

    score_c = mean over the tensors that make the channels of  D_c / mean_d D_d,   D_c = sum_d ||w_c - w_d||

A filter near the geometric median of its layer can be replaced by the others; large norms alone do not save it.
Source: He et al. 2019 (arXiv:1811.00250). Relative to the mean, because groups are compared.
"""

from collections.abc import Sequence
from typing import ClassVar, final

import torch
from torch import Tensor

from tinyml.graph.channel_groups import ChannelGroup, Slice
from tinyml.importance.base import Criterion, Evidence
from tinyml.importance.slices import channel_rows, mean_relative, producers


def total_distances(part: Slice, evidence: Evidence) -> Tensor:
    """Return float64 (channels,): the sum of the Euclidean distances of each channel's filter to all others.

    In float64, because distances are taken from products: near ones would drown in float32.
    """
    filters = channel_rows(evidence.weights[part.parameter].double(), part)
    return torch.cdist(filters, filters).sum(dim=1)


@final
class GeometricMedian(Criterion):
    """The distance to the other filters."""

    parts_wanted: ClassVar[str] = "weights that make its channels"

    def parts(self, group: ChannelGroup, evidence: Evidence) -> Sequence[Slice]:
        """Return what makes the channels."""
        return producers(group, evidence)

    def formula(self, parts: Sequence[Slice], group: ChannelGroup, evidence: Evidence) -> Tensor:
        """Return the mean relative distance."""
        return mean_relative(parts, lambda part: total_distances(part, evidence))
