"""Weights of each group in ascending order, with the prefix sums from which any run's mean is two differences.

More than 2^16 weights of a group are summed up in bins of neighbours, each with its mass and its mean. The bins are
cut at position N sin^2(pi/2 u) for u from 0 to 1: at both ends each weight is alone, so that an outlier takes one bin
and costs the others nothing; in the middle a bin holds N pi / 2^17.
"""

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

BINS = 2**16

Floats = NDArray[np.floating]


@dataclass(frozen=True, kw_only=True)
class SortedWeights:
    """Members (groups, N) in order, weights or bins of them; a run is members edge_j to edge_(j+1) - 1 of a row."""

    ordered: Tensor
    """(groups, all weights) float32, ascending."""
    values: Tensor
    """(groups, N) float32, ascending: the members."""
    mass: Tensor
    """(groups, N + 1) float64: how much the members before each position count."""
    moment: Tensor
    """(groups, N + 1) float64: their mass times (value - centre), summed."""
    centre: Tensor
    """(groups, 1) float64, the median: subtracted so that sums of weights far from zero keep their digits."""

    @classmethod
    def of(cls, rows: Tensor, masses: Tensor | None) -> "SortedWeights":
        """Return the rows (groups, all weights) float32 in order; masses, of their shape, are 1 where None.

        Raises:
            ValueError: A weight is NaN or infinite.
        """
        ordered, weights = _sorted(rows.cpu().numpy(), None if masses is None else masses.cpu().numpy())
        if not np.isfinite(ordered[:, [0, -1]]).all():  # NaN is sorted last
            raise ValueError("the weight holds NaN or infinity (as float32): clustering needs finite numbers")
        centre = ordered[:, ordered.shape[1] // 2, None].astype(np.float64)
        values, mass, moment = _binned(ordered, weights, quantile_edges(ordered.shape[1], BINS))
        return cls(
            ordered=torch.from_numpy(ordered),
            values=torch.from_numpy(values),
            mass=_prefix_sums(mass),
            moment=_prefix_sums(moment - centre * mass),
            centre=torch.from_numpy(centre),
        )

    def edges(self, thresholds: Tensor) -> Tensor:
        """Return (groups, k + 1) int64: where the runs that thresholds (groups, k - 1) part begin, and N."""
        return _parted(self.values, thresholds)

    def vacant(self, thresholds: Tensor) -> Tensor:
        """Return which runs, (groups, k) bool, hold no weight: in a gap lies the bin across it, not its weights."""
        return _parted(self.ordered, thresholds).diff() == 0

    def ends(self, edges: Tensor) -> tuple[Tensor, Tensor]:
        """Return the first and the last member of each run, (groups, k) each; of an empty run, a neighbour."""
        last = (edges[:, 1:] - 1).clamp(min=0)
        first = torch.minimum(edges[:, :-1], last)
        return self.values.gather(1, first), self.values.gather(1, last)

    def few_distinct(self, columns: int) -> Tensor:
        """Return which rows, (groups,) bool, hold `columns` different values or fewer."""
        # d values make 2d - 1 bins at most: as many pure ones, and one between two neighbours.
        few = (self.values[:, 1:] != self.values[:, :-1]).sum(dim=1) < 2 * columns
        ordered = self.ordered[few]
        count = (ordered[:, 1:] != ordered[:, :-1]).sum(dim=1) + 1
        return few.masked_scatter(few, count <= columns)


def quantile_edges(count: int, bins: int) -> Tensor:
    """Return (bins + 1,) int64 positions, or fewer, that cut `count` members in order: each alone where that suffices.

    0 is the first and `count` the last; no bin is empty.
    """
    if bins >= count:
        return torch.arange(count + 1)
    share = torch.linspace(0.0, 0.5 * torch.pi, bins + 1, dtype=torch.float64).sin().square()
    positions = (share * count).round().long()
    return torch.cat([positions[:1], positions[1:][positions.diff() > 0]])


def distinct_values(ordered: Tensor, columns: int) -> tuple[Tensor, Tensor]:
    """Return the distinct values of rows in order (groups, N), which are `columns` at most, and their number (groups,).

    The first is (groups, columns), ascending, the last value repeated.
    """
    rank = torch.nn.functional.pad((ordered[:, 1:] != ordered[:, :-1]).cumsum(dim=1), (1, 0))
    repeated = ordered[:, -1:].repeat(1, columns)
    return repeated.scatter_(1, rank, ordered), rank[:, -1] + 1


def _parted(ordered: Tensor, thresholds: Tensor) -> Tensor:
    """Return (groups, k + 1) int64: 0, where numbers in order (groups, N) pass thresholds (groups, k - 1), and N."""
    inner = torch.searchsorted(ordered, thresholds, right=True)
    return torch.nn.functional.pad(torch.nn.functional.pad(inner, (1, 0)), (0, 1), value=ordered.shape[1])


def _sorted(rows: Floats, masses: Floats | None) -> tuple[Floats, Floats | None]:
    """Return rows in ascending order and their masses in the same order; numpy's sort is several times torch's."""
    if masses is None:
        return np.sort(rows, axis=1), None
    order = np.argsort(rows, axis=1, kind="stable")
    return np.take_along_axis(rows, order, axis=1), np.take_along_axis(masses, order, axis=1)


def _binned(ordered: Floats, masses: Floats | None, edges: Tensor) -> tuple[Floats, Floats, Floats]:
    """Return (groups, N) means, float32, masses and sums of mass times value, float64, of the weights between edges.

    A bin without mass has its weights' plain mean, of which nothing but its place in the order matters.
    """
    starts, counts = edges[:-1].numpy(), edges.diff().numpy().astype(np.float64)
    sums = np.add.reduceat(ordered, starts, axis=1, dtype=np.float64)
    means = sums / counts
    if masses is None:
        return means.astype(np.float32), np.broadcast_to(counts, sums.shape), sums
    mass = np.add.reduceat(masses, starts, axis=1, dtype=np.float64)
    moment = np.add.reduceat(ordered * masses.astype(np.float64), starts, axis=1)
    return np.divide(moment, mass, out=means, where=mass > 0.0).astype(np.float32), mass, moment


def _prefix_sums(terms: Floats) -> Tensor:
    """Return (groups, N + 1) float64: the sums of the terms (groups, N) before each position."""
    sums = np.zeros((terms.shape[0], terms.shape[1] + 1))
    np.cumsum(terms, axis=1, out=sums[:, 1:])
    return torch.from_numpy(sums)
