"""A file that names some examples of a split: JSON with their rows and a digest of the split that they are rows of."""

import hashlib
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from pydantic import JsonValue

from tinyml.data.split import Split
from tinyml.errors import DataError
from tinyml.sealed_json import read_sealed_json

_KIND = "selection of examples"


def selection(split: Split, rows: NDArray[np.int64]) -> dict[str, JsonValue]:
    """Return what a selection file says of the rows of a split, to be written as sealed JSON."""
    indices: list[JsonValue] = [int(row) for row in rows]
    return {"kind": _KIND, "source": split.source, "examples": len(split), "split": _digest(split), "indices": indices}


def read_selection(path: Path, split: Split) -> NDArray[np.int64]:
    """Return the rows (n,) of a split that a file names.

    Raises:
        DataError: It is missing, damaged, no selection, or one of another split.
    """
    facts = read_sealed_json(path, error=DataError)
    indices = facts.get("indices")
    if facts.get("kind") != _KIND or not isinstance(indices, list) or not indices:
        raise DataError(f"'{path}' is no {_KIND}: name a calibration.json that `tinyml difficulty` wrote")
    if facts.get("split") != _digest(split):
        raise DataError(
            f"'{path}' names rows of {facts.get('source')} ({facts.get('examples'):,} examples), and the data here is "
            f"{split.source} ({len(split):,}), which differs: run `tinyml difficulty` on this data"
        )
    return np.asarray(indices, dtype=np.int64)


def _digest(split: Split) -> str:
    digest = hashlib.sha256()
    for array in (split.x, split.y):
        digest.update(f"{array.dtype} {array.shape}".encode())
        digest.update(np.ascontiguousarray(array).data)
    return digest.hexdigest()
