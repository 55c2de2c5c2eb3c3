"""Examples spread over prediction depths as evenly as their numbers allow."""

import numpy as np
from numpy.typing import NDArray


def spread_over_depths(depths: NDArray[np.int64], count: int, *, seed: int) -> NDArray[np.int64]:
    """Return `count` indices in rising order, all where there are fewer.

    Each depth gives the same number, drawn by the seed; one that has not so many gives all, and the others the rest.

    Args:
        depths: (N,) of all examples.
        count: how many are wanted.
        seed: of the draw.
    """
    drawn = np.random.default_rng(seed).permutation(len(depths))
    grouped = drawn[np.argsort(depths[drawn], kind="stable")]
    _, starts, counts = np.unique(depths[grouped], return_index=True, return_counts=True)
    turn = np.arange(len(depths)) - np.repeat(starts, counts)  # the first of each depth, the second of each, ...
    return np.asarray(np.sort(grouped[np.lexsort((np.arange(len(depths)), turn))][:count]))
