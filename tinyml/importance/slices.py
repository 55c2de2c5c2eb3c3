"""Numbers per channel out of tensors of weights: gather by the index of a slice, and bring slices to one scale."""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from tinyml.graph.channel_groups import ChannelGroup, Slice
from tinyml.importance.base import Evidence


def producers(group: ChannelGroup, evidence: Evidence) -> tuple[Slice, ...]:
    """Return the weights whose rows make the channels, depthwise ones too."""
    return tuple(part for part in group.slices if part.role == "output" and part.parameter in evidence.weights)


def consumers(group: ChannelGroup, evidence: Evidence) -> tuple[Slice, ...]:
    """Return the weights whose columns read the channels.

    Zeros there take the channels out of the function exactly; but for their part in the statistics of a normalization
    over channels (LayerNorm), which they keep.
    """
    return tuple(part for part in group.slices if part.role == "input" and part.parameter in evidence.weights)


def scaling(group: ChannelGroup, evidence: Evidence) -> tuple[Slice, ...]:
    """Return the scales (not the offsets and statistics) of the normalizations in the group."""
    return tuple(
        part
        for part in group.slices
        if part.role == "norm" and part.parameter in evidence.weights and part.parameter.endswith("weight")
    )


def position_sums(values: Tensor, dimension: int) -> Tensor:
    """Return float64 (size of the dimension,): the sums of the values over all other dimensions."""
    others = [other for other in range(values.ndim) if other != dimension]
    return values.sum(dim=others, dtype=torch.float64) if others else values.double()


def channel_sums(sums: Tensor, part: Slice) -> Tensor:
    """Return (channels,): the sums of the positions (size of the dimension,) that belong to each channel."""
    return sums[part.index].sum(dim=1)


def channel_rows(values: Tensor, part: Slice) -> Tensor:
    """Return (channels, n): all values of the tensor that belong to each channel."""
    return values.movedim(part.dimension, 0)[part.index].flatten(1)


def relative(scores: Tensor) -> Tensor:
    """Return the scores (channels,), none negative, as multiples of their mean; all zeros stay zeros."""
    mean = scores.mean()
    return scores if mean == 0 else scores / mean


def mean_relative(parts: Sequence[Slice], scores: Callable[[Slice], Tensor]) -> Tensor:
    """Return (channels,): the mean over the slices of each slice's scores relative to their mean.

    So every tensor of a group counts alike, whatever the scale of its weights, and the mean of a group is 1, whatever
    its size: scores of different groups can be compared with one threshold.
    """
    return torch.stack([relative(scores(part)).cpu() for part in parts]).mean(dim=0)
