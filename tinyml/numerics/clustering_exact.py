"""The exact optimum of one-dimensional k-means by dynamic programming over prefix sums.

    best_1(j) = gain(0, j)
    best_c(j) = max over i <= j of best_(c-1)(i) + gain(i, j),    gain(i, j) = (S_j - S_i)^2 / (M_j - M_i)

M and S are prefix sums of mass and of mass times value; the sum of squares minus best_k(N) is the least inertia. The
gain is concave (Monge), so that the best i never falls as j grows: the positions are solved in halves, each between the
answers of its neighbours, O(k N log N) (Grønlund et al. 2017, arXiv:1701.07204, section 2.2). All positions of one
depth, in all groups, are one vectorised step.
"""

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

Floats = NDArray[np.float64]
Positions = NDArray[np.int64]


def optimal_runs(mass: Tensor, moment: Tensor, clusters: int) -> Tensor:
    """Return (groups, clusters + 1) int64: positions that part the members into the runs of least inertia.

    The first is 0 and the last N; a run is empty where fewer do as well.

    Args:
        mass: prefix sums (groups, N + 1), float64, starting with 0.
        moment: prefix sums of mass * value, the same shape.
        clusters: k, 1 or more.
    """
    masses, moments = mass.contiguous().numpy(), moment.contiguous().numpy()
    groups, positions = masses.shape
    best = _gain(masses, moments)
    origins = np.zeros((clusters, groups, positions), dtype=np.int64)
    for layer in range(1, clusters):
        best, origins[layer] = _next_layer(best, masses, moments)
    runs = np.full((groups, clusters + 1), positions - 1, dtype=np.int64)
    for layer in range(clusters - 1, -1, -1):
        runs[:, layer] = np.take_along_axis(origins[layer], runs[:, layer + 1, None], axis=1)[:, 0]
    return torch.from_numpy(runs)


def _next_layer(best: Floats, mass: Floats, moment: Floats) -> tuple[Floats, Positions]:
    """Return best_c (groups, N + 1) and the i that reaches it, from best_(c-1)."""
    groups, positions = best.shape
    answer, origin = np.zeros_like(best), np.zeros(best.shape, dtype=np.int64)
    stride = 1 << (positions - 1).bit_length()
    while stride := stride // 2:
        at = np.arange(stride, positions, 2 * stride)
        above = np.minimum(at + stride, positions - 1)
        low = origin[:, at - stride]
        high = np.where(at + stride < positions, np.minimum(origin[:, above], at), at)
        rows = np.arange(groups)[:, None] * positions
        answer[:, at], origin[:, at] = _best_between(best, mass, moment, rows, at, low, high)
    return answer, origin


def _best_between(
    best: Floats, mass: Floats, moment: Floats, rows: Positions, at: Positions, low: Positions, high: Positions
) -> tuple[Floats, Positions]:
    """Return the greatest best(i) + gain(i, at) over low <= i <= high, and its least i; (groups, positions) both.

    Candidates of all positions lie in one flat array, each position's in a segment of its own.
    """
    lengths = (high - low + 1).ravel()
    starts = np.cumsum(lengths) - lengths
    segment = np.repeat(np.arange(lengths.size), lengths)
    flat = np.arange(segment.size) + np.repeat((low + rows).ravel() - starts, lengths)
    here = (at + rows).ravel()[segment]
    run_mass, run_moment = (sums.ravel()[here] - sums.ravel()[flat] for sums in (mass, moment))
    heights = best.ravel()[flat] + _gain(run_mass, run_moment)
    greatest = np.maximum.reduceat(heights, starts)
    reached = np.flatnonzero(heights == greatest[segment])[::-1]
    origin = np.empty(lengths.size, dtype=np.int64)
    origin[segment[reached]] = flat[reached]  # of several, the last written stays: the least
    return greatest.reshape(low.shape), origin.reshape(low.shape) - rows


def _gain(mass: Floats, moment: Floats) -> Floats:
    """Return moment^2 / mass, 0 where there is no mass."""
    return np.divide(moment * moment, mass, out=np.zeros_like(moment), where=mass > 0.0)
