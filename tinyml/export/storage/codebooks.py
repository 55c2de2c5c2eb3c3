"""Few distinct values in a weight: a table of them, and for each element the index of its own.

    x = table[index]                       one table a tensor
    x = table[group of the channel, index]     one table for each run of output channels

The values are found in the tensor, whoever made them so: k-means, or a linear quantizer of few bits. Floats are
compared by their bits, so that what is decoded is what was there, bit for bit.

Source: weight sharing in Deep Compression (Han et al. 2016, section 3).
"""

from dataclasses import dataclass
from typing import Any, Final, final

import numpy as np
from numpy.typing import NDArray

from tinyml.export.storage.digits import digits_bytes

MOST_VALUES: Final = 256
"""Values in a table: an index takes a byte at most."""


@final
@dataclass(frozen=True, kw_only=True, eq=False)
class Codebook:
    """Tables of values, and the place of each element in its own.

    Attributes:
        table: (groups, values) of the tensor's type; rows with fewer values repeat their last.
        indices: (elements,) int64.
    """

    table: NDArray[Any]
    indices: NDArray[np.int64]

    @property
    def base(self) -> int:
        """Number that all indices are below, at least 2."""
        return max(2, int(self.table.shape[1]))


def find_codebook(values: NDArray[Any], channels: NDArray[np.int64], count: int, opset: int) -> Codebook | None:
    """Return the codebook that takes the fewest bytes, or None where none is smaller than the values themselves.

    Args:
        values: (elements,) of any type.
        channels: (elements,) the output channel of each, from 0 to count - 1.
        count: of output channels; a group is a run of them, and all groups have the same size.
        opset: that the model imports.
    """
    if values.size == 0:
        return None
    distinct, symbols = np.unique(values.view(f"u{values.itemsize}"), return_inverse=True)
    if distinct.nbytes >= values.nbytes:  # each of them stands in a table
        return None
    pairs, place = np.unique(channels * distinct.size + symbols, return_inverse=True)  # (channel, value), each once
    groups = _best_groups(pairs, distinct.size, values, count, opset)
    if groups == 0:
        return None
    entries, rank = np.unique(_merged(pairs, distinct.size, groups, count), return_inverse=True)
    group, symbol = np.divmod(entries, distinct.size)
    sizes = np.bincount(group, minlength=groups)
    starts = np.cumsum(sizes) - sizes
    rows = starts[:, None] + np.minimum(np.arange(sizes.max()), sizes[:, None] - 1)
    table = distinct.view(values.dtype)[symbol[rows]]
    return Codebook(table=table, indices=(rank - starts[group[rank]])[place])


def find_range(values: NDArray[Any]) -> Codebook | None:
    """Return the codebook of all integers from the lowest to the highest; None of floats and of wide ranges."""
    if values.size == 0 or values.dtype.kind not in "iu":
        return None
    low, high = int(values.min()), int(values.max())
    if high - low >= MOST_VALUES:
        return None
    table = np.arange(low, high + 1).astype(values.dtype)
    return Codebook(table=table[None], indices=values.astype(np.int64) - low)


def _best_groups(pairs: NDArray[np.int64], distinct: int, values: NDArray[Any], count: int, opset: int) -> int:
    """Return how many groups take the fewest bytes; 0 where all take as many as the values."""
    best, fewest = 0, int(values.nbytes)
    if np.bincount(pairs // distinct).max() > MOST_VALUES:  # even one channel has too many
        return best
    for groups in (number for number in range(1, count + 1) if count % number == 0):
        most = int(np.bincount(np.unique(_merged(pairs, distinct, groups, count)) // distinct).max())
        size = digits_bytes(values.size, max(2, most), opset) + groups * most * values.itemsize
        if most <= MOST_VALUES and size < fewest:
            best, fewest = groups, size
    return best


def _merged(pairs: NDArray[np.int64], distinct: int, groups: int, count: int) -> NDArray[np.int64]:
    """Return (group, value) for each (channel, value), as one number."""
    channel, symbol = np.divmod(pairs, distinct)
    merged: NDArray[np.int64] = channel * groups // count * distinct + symbol
    return merged
