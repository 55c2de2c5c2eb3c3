"""The k nearest neighbours of many points among many others, exactly, in bounded memory, and their vote.

    euclidean   |q - r|^2
    cosine      -q.r / (|q| |r|), and 0 where a vector is zero

Products in float32 find k + SPARE candidates for each query, and distances in float64 decide among them. No other
reference can be among the k nearest when the last candidate is farther, by more than float32 may be wrong, than the
k-th distance; where one can, all references within that error are looked at. Equal distances: the lower index. So the
result depends neither on the size of a chunk nor on the number of threads. The error of a product of D terms is at most
D eps |q| |r| (Higham 2002, section 3.1); forming the terms adds a few eps.
"""

from abc import ABC, abstractmethod
from typing import Final, Literal, final

import torch
from torch import Tensor
from torch.linalg import vector_norm
from torch.nn.functional import normalize

Metric = Literal["euclidean", "cosine"]

SPARE: Final = 16
CHUNK_BYTES: Final = 128 * 2**20
_EPS: Final = torch.finfo(torch.float32).eps


def nearest_neighbours(
    queries: Tensor,
    references: Tensor,
    k: int,
    *,
    metric: Metric,
    own: Tensor | None = None,
    chunk_bytes: int = CHUNK_BYTES,
) -> Tensor:
    """Return int64 (Q, k): the indices of each query's nearest references, the nearest first.

    Args:
        queries: float32 (Q, D), finite.
        references: float32 (R, D), finite.
        k: from 1 to R, to R - 1 with `own`.
        metric: of the distance.
        own: int64 (Q,): the reference that each query is itself, which is left out.
        chunk_bytes: of memory for the scores of some queries, and again for the differences to their candidates.

    Raises:
        ValueError: There are fewer than k references to choose from.
    """
    choices = len(references) - (own is not None)
    if not 1 <= k <= choices:
        raise ValueError(f"k is {k}; there are {choices} references to choose from")
    if bool((references == references[0]).all()):  # a dead layer: all are equally near, so the lowest indices
        return _lowest(len(queries), k, own, references.device)
    index = (_Euclidean if metric == "euclidean" else _Cosine)(references)
    candidates = min(k + SPARE, choices)
    rows = max(1, chunk_bytes // (4 * len(references)))
    parts = torch.split(queries, rows)
    owns = [None] * len(parts) if own is None else torch.split(own, rows)
    return torch.cat(
        [_nearest(index, part, skipped, k, candidates, chunk_bytes) for part, skipped in zip(parts, owns, strict=True)]
    )


def majority_vote(labels: Tensor, classes: int) -> Tensor:
    """Return int64 (Q,): the class that most of each row's labels name; of several, that of the nearest neighbour.

    Args:
        labels: int64 (Q, k), the nearest neighbour's first, each from 0 to `classes` - 1.
        classes: how many there are.
    """
    votes = torch.zeros(len(labels), classes, dtype=torch.int32, device=labels.device)
    votes.scatter_add_(1, labels, torch.ones_like(labels, dtype=torch.int32))
    most = votes.gather(1, labels) == votes.amax(dim=1, keepdim=True)
    return labels.gather(1, most.int().argmax(dim=1, keepdim=True))[:, 0]


class _Index(ABC):
    """References made ready for products in float32, whose scores order as the distances do.

    Attributes:
        references: (R, D) as they were given.
        shifted: (R, D), float32: what products are taken of.
        reach: the largest length of a shifted reference.
    """

    references: Tensor
    shifted: Tensor
    reach: float

    @abstractmethod
    def shift(self, points: Tensor) -> Tensor:
        """Return points (..., D) as `shifted` has the references."""

    @abstractmethod
    def scores(self, shifted: Tensor) -> Tensor:
        """Return float32 (Q, R): the scores of shifted queries with all references."""

    @abstractmethod
    def as_scores(self, distances: Tensor, shifted: Tensor) -> Tensor:
        """Return float64 (Q,): the scores that distances (Q,) of shifted queries stand for."""

    @abstractmethod
    def distances(self, queries: Tensor, references: Tensor) -> Tensor:
        """Return float64 (Q, C): the distances of queries (Q, D) to references (Q, C, D)."""


@final
class _Euclidean(_Index):
    """About the mean of the references, where products cancel least: |r|^2 - 2 q.r is the distance without |q|^2."""

    def __init__(self, references: Tensor) -> None:
        self._centre = references.mean(dim=0)
        self.references, self.shifted = references, references - self._centre
        lengths = vector_norm(self.shifted, dim=1)  # a sum of squares would take a third (R, D)
        self._squares, self.reach = lengths.square(), float(lengths.max())

    def shift(self, points: Tensor) -> Tensor:
        return points - self._centre

    def scores(self, shifted: Tensor) -> Tensor:
        return torch.addmm(self._squares, shifted, self.shifted.T, alpha=-2)

    def as_scores(self, distances: Tensor, shifted: Tensor) -> Tensor:
        return distances - shifted.double().square().sum(dim=1)

    def distances(self, queries: Tensor, references: Tensor) -> Tensor:
        return (references.double() - queries.double()[:, None]).square_().sum(dim=2)


@final
class _Cosine(_Index):
    """At length 1; a zero vector stays, at the cosine 0 to all."""

    def __init__(self, references: Tensor) -> None:
        self.references, self.shifted = references, self.shift(references)
        self.reach = 1.0

    def shift(self, points: Tensor) -> Tensor:
        return normalize(points, dim=-1)

    def scores(self, shifted: Tensor) -> Tensor:
        return -(shifted @ self.shifted.T)

    def as_scores(self, distances: Tensor, shifted: Tensor) -> Tensor:
        return distances

    def distances(self, queries: Tensor, references: Tensor) -> Tensor:
        first, second = queries.double()[:, None], references.double()
        lengths = vector_norm(first, dim=2) * vector_norm(second, dim=2)
        cosines: Tensor = second.mul_(first).sum(dim=2) / lengths.where(lengths > 0, 1.0)
        return -cosines


def _lowest(queries: int, k: int, own: Tensor | None, device: torch.device) -> Tensor:
    """Return (Q, k): the k lowest indices, without each query's own."""
    lowest = torch.arange(k, device=device).expand(queries, k)
    return lowest.clone() if own is None else lowest + (lowest >= own[:, None])


def _nearest(index: _Index, queries: Tensor, own: Tensor | None, k: int, candidates: int, chunk_bytes: int) -> Tensor:
    """Return (q, k) as `nearest_neighbours`, of one chunk."""
    shifted = index.shift(queries)
    scores = index.scores(shifted)
    if own is not None:
        scores[torch.arange(len(queries), device=scores.device), own] = torch.inf
    best, near = scores.topk(candidates, dim=1, largest=False)
    near = near.sort(dim=1).values  # a stable sort by distance then puts the lower index first
    rows = max(1, chunk_bytes // (24 * candidates * queries.shape[1]))
    pairs = zip(torch.split(queries, rows), torch.split(near, rows), strict=True)
    exact = torch.cat([index.distances(some, index.references[theirs]) for some, theirs in pairs])
    distances, order = exact.sort(dim=1, stable=True)
    nearest = near.gather(1, order)[:, :k]
    if candidates == scores.shape[1] - (own is not None):
        return nearest
    error = (queries.shape[1] + 4) * _EPS * (vector_norm(shifted, dim=1) + index.reach).double().square()
    limits = index.as_scores(distances[:, k - 1], shifted) + error
    for row in (best[:, -1] <= limits).nonzero()[:, 0].tolist():
        all_near = (scores[row] <= limits[row]).nonzero()[:, 0]
        query, parts = queries[row : row + 1], torch.split(all_near, rows * candidates)
        distance = torch.cat([index.distances(query, index.references[some][None])[0] for some in parts])
        nearest[row] = all_near[distance.sort(stable=True).indices[:k]]
    return nearest
