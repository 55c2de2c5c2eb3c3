"""Spearman's rank correlation, ties given the mean of their ranks.

rho is Pearson's correlation of the ranks: cov(x, y) / (std(x) std(y)).
"""

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray


def rank_correlation(x: NDArray[Any], y: NDArray[Any]) -> float:
    """Return rho (-1 to 1) of two series (N,); NaN where one of them is constant."""
    first, second = _ranks(x), _ranks(y)
    first, second = first - first.mean(), second - second.mean()
    scale = math.sqrt(float(first @ first) * float(second @ second))
    return float(first @ second) / scale if scale else math.nan


def _ranks(values: NDArray[Any]) -> NDArray[np.float64]:
    """Return the ranks (N,) from 1, of equal values their mean."""
    _, places, counts = np.unique(values, return_inverse=True, return_counts=True)
    last = np.cumsum(counts)
    means = last - (counts - 1) / 2
    ranks: NDArray[np.float64] = means[places]
    return ranks
