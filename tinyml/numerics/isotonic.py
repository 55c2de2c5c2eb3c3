"""The rising line nearest to points: what noise lets fall is averaged.

Source: the pool-adjacent-violators algorithm (Ayer et al. 1955, "An empirical distribution function for sampling with
incomplete information").
"""

import numpy as np
from numpy.typing import NDArray


def rising(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the values (n,) that never fall and lie nearest to `values` in least squares."""
    means: list[float] = []
    counts: list[int] = []
    for value in values:
        means.append(float(value))
        counts.append(1)
        while len(means) > 1 and means[-2] >= means[-1]:
            (first, last), (before, after) = means[-2:], counts[-2:]
            means[-2:] = [(first * before + last * after) / (before + after)]
            counts[-2:] = [before + after]
    return np.repeat(means, counts)
