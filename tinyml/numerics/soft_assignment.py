"""Soft assignment of numbers to few centroids, through which gradients flow to all of them.

    a_ij = softmax over j of -((w_i - c_j) / gap)^2 / temperature       gap: mean distance of neighbouring centroids
    c_j' = sum_i a_ij w_i / sum_i a_ij
    w_i' = sum_j a_ij c_j'

Cho et al. 2022, "DKM: Differentiable k-Means Clustering Layer for Neural Network Compression" (arXiv:2108.12659). It
iterates the first two lines until they converge and differentiates through all of them. Here they are done once, from
centroids that are near already because they are kept from step to step; the temperature is relative to the gap, so that
it suits every layer, and falls over the training, so that the mixtures end where evaluation and the file are: on one
centroid each. Attention is recomputed in the backward pass, piece by piece: memory does not grow with the centroids.
"""

from collections.abc import Callable
from typing import TypeVar

import torch
from torch import Tensor
from torch.utils.checkpoint import checkpoint

Result = TypeVar("Result")

WARM, COLD = 0.25, 0.01
"""Temperatures at the beginning and the end: a weight on a centroid leans to its neighbour with e^-4, then e^-100."""
PIECE = 2**17
"""Weights at once."""


def soft_assignment(weight: Tensor, centroids: Tensor, *, free: Tensor, share: float) -> Tensor:
    """Return the weights as mixtures of centroids, (groups, n); zero where they are not free.

    Args:
        weight: (groups, n).
        centroids: (groups, k), ascending in each row.
        free: bool (groups, n); weights that are not take no part.
        share: how much of the training is done (0-1).
    """
    gap = (centroids[:, -1:] - centroids[:, :1]) / max(1, centroids.shape[1] - 1)
    sharpness = 1 / (torch.where(gap > 0, gap, 1.0) * (WARM * (COLD / WARM) ** share) ** 0.5)
    count = -(-weight.numel() // PIECE)
    pieces = list(zip(weight.chunk(count, dim=1), free.chunk(count, dim=1), strict=True))
    sums, totals = torch.zeros_like(centroids), torch.zeros_like(centroids)
    for values, taking_part in pieces:
        more, heavier = _again(_moments, values, taking_part, centroids, sharpness)
        sums, totals = sums + more, totals + heavier
    means = torch.where(totals > 0, sums / torch.where(totals > 0, totals, 1.0), centroids)
    mixed = [_again(_mixtures, values, part, centroids, sharpness, means) for values, part in pieces]
    return torch.cat(mixed, dim=1)


def _again(function: Callable[..., Result], *tensors: Tensor) -> Result:
    """Return the function's result, which is computed again for its gradient."""
    result: Result = checkpoint(function, *tensors, use_reentrant=False, preserve_rng_state=False)
    return result


def _attention(weight: Tensor, centroids: Tensor, sharpness: Tensor) -> Tensor:
    """Return a, (groups, n, k)."""
    distance = (weight[:, :, None] - centroids[:, None, :]) * sharpness[:, :, None]
    return torch.softmax(-distance.square(), dim=2)


def _moments(weight: Tensor, free: Tensor, centroids: Tensor, sharpness: Tensor) -> tuple[Tensor, Tensor]:
    """Return the sums over i of a w and of a, (groups, k) each."""
    attention = _attention(weight, centroids, sharpness) * free[:, :, None]
    return torch.einsum("gnk,gn->gk", attention, weight), attention.sum(dim=1)


def _mixtures(weight: Tensor, free: Tensor, centroids: Tensor, sharpness: Tensor, means: Tensor) -> Tensor:
    """Return w', (groups, n)."""
    mixed = torch.einsum("gnk,gk->gn", _attention(weight, centroids, sharpness), means)
    return torch.where(free, mixed, 0.0)
