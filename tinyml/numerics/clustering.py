"""One-dimensional k-means: weights become indices into a small codebook, one codebook a group of output channels.

    minimise  sum_i importance_i (weight_i - codebook[label_i])^2

Weights are numbers, so clusters are runs of the sorted weights: with prefix sums of mass and moment over one sort, an
iteration of Lloyd moves k - 1 boundaries and reads k differences,

    threshold_j = (codebook_j + codebook_(j+1)) / 2
    codebook_j  = (moment(edge_(j+1)) - moment(edge_j)) / (mass(edge_(j+1)) - mass(edge_j))

and its cost grows with the logarithm of the number of weights only. A cluster that is left without members moves
towards the weight that is farthest from its centroid, where that costs most. The use: Han et al. 2016, "Deep
Compression" (arXiv:1510.00149), section 3; one dimension: Grønlund et al. 2017, "Fast exact k-means, k-medians and
Bregman divergence clustering in 1D" (arXiv:1701.07204).
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from tinyml.numerics.clustering_starts import Start, starting_codebook
from tinyml.numerics.nearest_centroid import decode, nearest, thresholds
from tinyml.numerics.sorted_weights import SortedWeights, distinct_values

__all__ = ["Clusters", "Start", "cluster", "decode", "nearest"]

MOST_CENTROIDS = 256
LLOYD_STEPS = 300
SETTLED = 2.0**-14
"""Share of a group's weights: in groups of fewer than 2^14 no weight changes its cluster any more."""


@dataclass(frozen=True, kw_only=True)
class Clusters:
    """What `cluster` found; the weight that it stands for is `decode(labels, codebook)`."""

    codebook: Tensor
    """(groups, k) float32, ascending in each row; columns from `used` on repeat the last real centroid."""
    used: Tensor
    """(groups,) int64: how many columns are real; fewer than k only where a group has fewer distinct values."""
    labels: Tensor
    """uint8, of the weight's shape, each the column of the nearest centroid."""
    inertia: float
    """Sum of the squared distances, each times its importance."""


def cluster(
    weight: Tensor,
    centroids: int,
    *,
    groups: int = 1,
    start: Start = "density",
    importance: Tensor | None = None,
    seed: int = 0,
) -> Clusters:
    """Return the clusters of the weights: the nearest fixed point of Lloyd's iteration to the start.

    Args:
        weight: (C_out, ...), finite, of any float type; it is read as float32.
        centroids: k, the columns of the codebook, 1-256.
        groups: equal runs of output channels that get a codebook each; a divisor of C_out.
        start: where the centroids start, see `Start`; with "optimal" the answer is the least inertia of all where a
            group is small enough for it.
        importance: weight of each squared error, of the weight's shape, >= 0; None counts all alike.
        seed: of "kmeans++"; the others draw nothing.

    Raises:
        ValueError: The weight is empty or not finite, a number is out of its range, or importance does not fit.
    """
    _refuse(weight, centroids, groups, importance)
    ordered = SortedWeights.of(_rows(weight, groups), _masses(importance, groups))
    codebook = starting_codebook(ordered, centroids, start, seed)
    codebook, used = _exact_where_few(ordered, *distinct_values(_lloyd(ordered, codebook), centroids))
    codebook = codebook.to(weight.device)
    labels = nearest(weight, codebook)
    errors = decode(labels, codebook).sub_(weight.detach()).square_().reshape(groups, -1)
    if importance is not None:
        errors *= importance.detach().reshape(groups, -1)
    inertia = float(errors.sum(dim=1).double().sum())
    return Clusters(codebook=codebook, used=used.to(weight.device), labels=labels, inertia=inertia)


def _lloyd(ordered: SortedWeights, codebook: Tensor) -> Tensor:
    """Return the codebook after Lloyd's iterations, until no boundary moves by more than SETTLED of the members."""
    before: Tensor | None = None
    for _ in range(LLOYD_STEPS):
        limits = thresholds(codebook)
        edges = ordered.edges(limits)
        if before is not None and float((edges - before).abs().max()) <= SETTLED * ordered.values.shape[1]:
            break
        empty = ordered.vacant(limits) | (edges.diff() == 0)
        codebook = _centroids(ordered, edges, codebook, empty)
        before = edges
        if bool(empty.any()):
            relocated = _relocated(ordered, edges, codebook, empty)
            before = edges if torch.equal(relocated, codebook) else None
            codebook = relocated
    return codebook


def _centroids(ordered: SortedWeights, edges: Tensor, codebook: Tensor, empty: Tensor) -> Tensor:
    """Return the means of the clusters between edges (groups, k + 1); those that are empty stay."""
    mass, moment = ordered.mass.gather(1, edges).diff(), ordered.moment.gather(1, edges).diff()
    first, last = ordered.ends(edges)
    means = (ordered.centre + moment / mass).float().clamp(first, last)
    return torch.where(empty, codebook, means)


def _relocated(ordered: SortedWeights, edges: Tensor, codebook: Tensor, empty: Tensor) -> Tensor:
    """Return the codebook, sorted, with empty clusters moved towards the farthest members of the costliest ones."""
    first, last = ordered.ends(edges)
    farthest = torch.where(codebook - first > last - codebook, first, last)
    cost = ordered.mass.gather(1, edges).diff() * (farthest - codebook).double().square()
    donors = cost.masked_fill(empty, 0.0).argsort(dim=1, descending=True, stable=True)
    vacant = empty.long().argsort(dim=1, descending=True, stable=True)
    target = ((codebook + farthest) / 2.0).gather(1, donors)
    moves = empty.gather(1, vacant) & (cost.gather(1, donors) > 0.0)
    moved = torch.where(moves, target, codebook.gather(1, vacant))
    return codebook.scatter(1, vacant, moved).sort(dim=1).values


def _exact_where_few(ordered: SortedWeights, codebook: Tensor, used: Tensor) -> tuple[Tensor, Tensor]:
    """Return codebook and used, with the distinct values themselves in the rows that have no more than k of them."""
    few = ordered.few_distinct(codebook.shape[1])
    if not bool(few.any()):
        return codebook, used
    codebook, used = codebook.clone(), used.clone()
    codebook[few], used[few] = distinct_values(ordered.ordered[few], codebook.shape[1])
    return codebook, used


def _rows(weight: Tensor, groups: int) -> Tensor:
    """Return the weights as contiguous float32 (groups, members)."""
    return weight.detach().float().reshape(groups, -1).contiguous()


def _masses(importance: Tensor | None, groups: int) -> Tensor | None:
    """Return importance as float32 rows of mean 1, raised to at least 2^-20 so that every weight draws a little."""
    if importance is None:
        return None
    rows = _rows(importance, groups)
    mean = rows.mean(dtype=torch.float64).float()
    return (rows / mean).clamp_(min=2.0**-20) if bool(mean > 0.0) else torch.ones_like(rows)


def _refuse(weight: Tensor, centroids: int, groups: int, importance: Tensor | None) -> None:
    """Refuse arguments that mean nothing.

    Raises:
        ValueError: One of them does.
    """
    if weight.ndim == 0 or weight.numel() == 0:
        raise ValueError(f"a weight of shape {tuple(weight.shape)} has nothing to cluster")
    if not 1 <= centroids <= MOST_CENTROIDS:
        raise ValueError(f"centroids: {centroids}; allowed are 1 to {MOST_CENTROIDS}")
    if groups < 1 or weight.shape[0] % groups:
        raise ValueError(f"groups: {groups} does not divide the {weight.shape[0]} output channels")
    if importance is not None and importance.shape != weight.shape:
        raise ValueError(f"importance of shape {tuple(importance.shape)} for a weight of {tuple(weight.shape)}")
    if importance is not None and not bool((torch.isfinite(importance) & (importance >= 0)).all()):
        raise ValueError("importance must be finite and not negative")
