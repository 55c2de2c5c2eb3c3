"""Which examples a compressed network loses and gains beside the dense one, by how hard they are.

Two networks of the same accuracy may be right on different examples ("churn"). Hard examples are those of a large
prediction depth (Baldock et al., "Deep learning through the lens of example difficulty", 2021), which `tinyml
difficulty` measures on the dense network.
"""

import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, final

import numpy as np
from numpy.typing import NDArray

from tinyml.errors import DataError
from tinyml.manifest import verify_manifest
from tinyml.measure.statistics import wilson_interval

DEPTHS_NAME: Final = "depths.npz"
_AGAIN: Final = "run `tinyml difficulty` on this data"


@final
@dataclass(frozen=True, kw_only=True, eq=False)
class Depths:
    """How hard examples of a split are.

    Attributes:
        indices: int (N,): their rows in the split.
        depth: int (N,): prediction depth.
        labels: int (N,).
        predictions: int (N,): answers of the network whose depths they are.
    """

    indices: NDArray[np.int64]
    depth: NDArray[np.int64]
    labels: NDArray[np.int64]
    predictions: NDArray[np.int64]


@final
@dataclass(frozen=True, kw_only=True)
class DepthChurn:
    """The examples of one depth.

    Attributes:
        depth: their prediction depth; None for all examples together.
        n: how many there are.
        right_before: how many the dense network gets right.
        lost: rows in the split of those that only the dense network gets right.
        gained: rows of those that only the compressed one gets right.
    """

    depth: int | None
    n: int
    right_before: int
    lost: tuple[int, ...]
    gained: tuple[int, ...]

    @property
    def net(self) -> float:
        """Accuracy after minus accuracy before (-1 to 1)."""
        return (len(self.gained) - len(self.lost)) / self.n

    @property
    def lost_share(self) -> float | None:
        """Share (0-1) that was lost of those that the dense network gets right; None where there are none."""
        return len(self.lost) / self.right_before if self.right_before else None

    @property
    def lost_interval(self) -> tuple[float, float] | None:
        """Wilson's 95 % interval of `lost_share`."""
        return wilson_interval(len(self.lost), self.right_before) if self.right_before else None

    def to_json(self) -> dict[str, object]:
        """Return everything as JSON values."""
        counts = {"lost": len(self.lost), "gained": len(self.gained), "net": self.net}
        shares = {"lost_share": self.lost_share, "lost_interval": self.lost_interval}
        rows = {"lost_examples": list(self.lost), "gained_examples": list(self.gained)}
        return {"depth": self.depth, "n": self.n, "right_before": self.right_before, **counts, **shares, **rows}


@final
@dataclass(frozen=True, kw_only=True)
class Churn:
    """What one compressed network lost and gained.

    Attributes:
        by_depth: a row for each depth that occurs, rising.
        total: all examples together.
        dense_alike: share (0-1) of the examples that the dense network gets right or wrong as that of the depths does.
    """

    by_depth: tuple[DepthChurn, ...]
    total: DepthChurn
    dense_alike: float


def churn(before: NDArray[np.bool_], after: NDArray[np.bool_], depths: Depths) -> Churn:
    """Return what was lost and gained at each depth.

    Args:
        before: whether the dense network is right (N of the split,).
        after: the same of the compressed network.
        depths: of those examples of the split that count.
    """
    all_of_them = np.ones(len(depths.depth), np.bool_)
    return Churn(
        by_depth=tuple(
            _row(int(depth), depths.depth == depth, before, after, depths) for depth in np.unique(depths.depth)
        ),
        total=_row(None, all_of_them, before, after, depths),
        dense_alike=float(np.mean(before[depths.indices] == (depths.predictions == depths.labels))),
    )


def read_depths(folder: Path, split: str, labels: NDArray[Any]) -> Depths:
    """Return the depths of a split from a folder that `tinyml difficulty` wrote.

    Args:
        folder: sealed by its manifest.
        split: "test" or "validation".
        labels: of the split as the data has it (M,).

    Raises:
        DataError: the folder is no such folder, is damaged, or is about other data.
    """
    path = folder / DEPTHS_NAME
    if not path.is_file():
        raise DataError(f"'{folder}' holds no {DEPTHS_NAME}; give a folder that tinyml difficulty wrote")
    if problems := verify_manifest(folder):
        raise DataError(f"'{folder}' is no sound result of tinyml difficulty: {problems[0]}")
    arrays = _arrays(path, split)
    depths = Depths(
        indices=arrays["indices"], depth=arrays["depth"], labels=arrays["label"], predictions=arrays["prediction"]
    )
    if depths.indices.size == 0 or depths.indices.max() >= len(labels):
        raise DataError(
            f"'{path}' is about {depths.indices.size:,} other examples than the {len(labels):,} of --data: {_AGAIN}"
        )
    if not np.array_equal(depths.labels, labels[depths.indices]):
        raise DataError(f"'{path}' has other labels for the {split} split than --data: {_AGAIN}")
    return depths


def _arrays(path: Path, split: str) -> Mapping[str, NDArray[np.int64]]:
    """Return the arrays of a split by what they hold."""
    wanted = ("indices", "depth", "label", "prediction")
    try:
        with np.load(path, allow_pickle=False) as file:
            missing = [name for name in wanted if f"{split}_{name}" not in file.files]
            if missing:
                raise DataError(
                    f"'{path}' has no '{split}_{missing[0]}'; it holds {', '.join(sorted(file.files))}: {_AGAIN}"
                )
            return {name: file[f"{split}_{name}"].astype(np.int64) for name in wanted}
    except (OSError, ValueError, zipfile.BadZipFile) as error:
        raise DataError(f"'{path}' is damaged: {error}") from error


def _row(
    depth: int | None, chosen: NDArray[np.bool_], before: NDArray[np.bool_], after: NDArray[np.bool_], depths: Depths
) -> DepthChurn:
    rows = depths.indices[chosen]
    return DepthChurn(
        depth=depth,
        n=len(rows),
        right_before=int(before[rows].sum()),
        lost=tuple(rows[before[rows] & ~after[rows]].tolist()),
        gained=tuple(rows[~before[rows] & after[rows]].tolist()),
    )
