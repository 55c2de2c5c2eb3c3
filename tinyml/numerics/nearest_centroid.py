"""Which centroid of a sorted codebook is nearest: the runs that its midpoints part, found without any distance.

A weight belongs to column j or a lower one when weight <= threshold_j. In a large group a first look is a table: bins
of equal width between the lowest and the highest threshold, each with the label of what falls into it. Computing a
bin never swaps two numbers, so that only weights in a bin of some threshold need the search; the answers are the same.
"""

import torch
from torch import Tensor

TABLE_BINS = 2**16


def nearest(weight: Tensor, codebook: Tensor) -> Tensor:
    """Return the column of the nearest centroid of each weight, uint8, of the weight's shape; ties to the lower one.

    Args:
        weight: (C_out, ...), finite; its first axis is cut into as many equal runs as the codebook has rows.
        codebook: (groups, k), ascending in each row, k at most 256; repeats of the last centroid are never chosen.
    """
    rows = weight.detach().float().reshape(codebook.shape[0], -1).contiguous()
    limits = thresholds(codebook.detach().float())
    if rows.shape[1] < TABLE_BINS:
        labels = torch.searchsorted(limits, rows, out_int32=True).to(torch.uint8)
    else:
        labels = torch.stack([_by_table(row, limit) for row, limit in zip(rows, limits, strict=True)])
    return labels.reshape(weight.shape)


def decode(labels: Tensor, codebook: Tensor) -> Tensor:
    """Return the centroid of each label, of the labels' shape and the codebook's type; gradients reach the codebook.

    Args:
        labels: (C_out, ...) uint8; the first axis is cut into as many equal runs as the codebook has rows.
        codebook: (groups, k).
    """
    groups, columns = codebook.shape
    flat = labels.reshape(groups, -1).to(torch.int32)
    if groups > 1:
        flat += torch.arange(groups, device=labels.device, dtype=torch.int32)[:, None] * columns
    return codebook.flatten().index_select(0, flat.flatten()).reshape(labels.shape)


def thresholds(codebook: Tensor) -> Tensor:
    """Return (groups, k - 1) float32, ascending: the limit of each column but the last.

    Midpoints, rounded down to float32, so that comparing float32 weights with them is exact; infinity before a repeat
    of the last centroid.
    """
    middle = (codebook[:, :-1].double() + codebook[:, 1:].double()) / 2.0
    rounded = middle.float()
    below = torch.nextafter(rounded, torch.full_like(rounded, -torch.inf))
    floor = torch.where(rounded.double() > middle, below, rounded)
    return floor.masked_fill_(codebook[:, :-1] == codebook[:, -1:], torch.inf)


def _by_table(weights: Tensor, limits: Tensor) -> Tensor:
    """Return the labels, uint8 (N,), of weights (N,) float32 between limits (k - 1,) float32, ascending."""
    finite = limits[limits < torch.inf]
    if finite.numel() == 0:
        return torch.zeros_like(weights, dtype=torch.uint8)
    low, scale = finite[0], (TABLE_BINS - 4) / (finite[-1] - finite[0])
    hits = torch.bincount(_bins(finite, low, scale), minlength=TABLE_BINS)
    table = hits.cumsum(0).masked_fill_(hits > 0, -1).to(torch.int16)
    labels = table.index_select(0, _bins(weights, low, scale))
    unsure = (labels < 0).nonzero().flatten()
    labels[unsure] = torch.searchsorted(finite, weights[unsure]).to(torch.int16)
    return labels.to(torch.uint8)


def _bins(numbers: Tensor, low: Tensor, scale: Tensor) -> Tensor:
    """Return int32 bins, 0 for what is below `low`, never descending where the numbers ascend."""
    return (numbers - low).mul_(scale).add_(1.0).clamp_(0.0, TABLE_BINS - 1.0).to(torch.int32).clamp_(min=0)
