"""One part of a data set: examples, their labels, and where they came from."""

import logging
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

logger = logging.getLogger(__name__)

CARVING_SEED = 20170217  # fixed: every run on the same card must see the same validation examples


@dataclass(frozen=True, kw_only=True)
class Split:
    """Examples in the order of their file.

    Attributes:
        x: pixels uint8 (N, H, W, C), or float32 (N, ...) exactly as the network takes them; other floats become it.
        y: labels int64 (N,): the class, or for reconstruction 0 (normal) or 1 (anomalous); other integers become it.
        source: for reports: 'file train.npz', 'carved from train (10 %, file train.npz)'.
    """

    x: np.ndarray
    y: np.ndarray
    source: str

    def __post_init__(self) -> None:
        if self.x.dtype.kind == "f":
            object.__setattr__(self, "x", self.x.astype(np.float32, copy=False))
        if self.y.dtype.kind in "iu":
            object.__setattr__(self, "y", self.y.astype(np.int64, copy=False))

    def __len__(self) -> int:
        """Return the number of examples."""
        return len(self.x)

    def take(self, rows: NDArray[np.int64], source: str) -> "Split":
        """Return the examples at the given rows, said to come from `source`."""
        return Split(x=self.x[rows], y=self.y[rows], source=source)


def carve_validation(train: Split, share: float) -> tuple[Split, Split]:
    """Return (train, validation): round(share x count) of each label go to validation, by a fixed seed.

    Both keep the order of the file. A label with one example only stays in train; any other gives at least one.
    """
    generator = np.random.default_rng(CARVING_SEED)
    held_out = np.zeros(len(train), dtype=bool)
    for label in np.unique(train.y):
        rows = np.flatnonzero(train.y == label)
        count = min(max(1, round(share * len(rows))), len(rows) - 1)
        held_out[generator.choice(rows, count, replace=False)] = True
    carved = f"carved from train ({share:.3g} of {train.source})"
    kept = f"{train.source}, without the {held_out.sum():,} carved for validation"
    return train.take(np.flatnonzero(~held_out), kept), train.take(np.flatnonzero(held_out), carved)


def only_normal(train: Split) -> Split:
    """Return the examples with label 0: an anomaly detector learns from normal ones only."""
    rows = np.flatnonzero(train.y == 0)
    if len(rows) == len(train):
        return train
    logger.info("%s: trains on the %d normal of %d examples", train.source, len(rows), len(train))
    return train.take(rows, f"{train.source}, its {len(rows):,} normal examples")
