"""Files that name examples of a split."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from tinyml.data import Split
from tinyml.data.selection import read_selection, selection
from tinyml.errors import DataError
from tinyml.sealed_json import write_sealed_json

SPLIT = Split(x=np.arange(20, dtype=np.float32).reshape(10, 2), y=np.arange(10), source="file train.npz")


def test_rows_come_back(tmp_path: Path) -> None:
    write_sealed_json(tmp_path / "some.json", selection(SPLIT, np.array([1, 5, 7])))
    assert read_selection(tmp_path / "some.json", SPLIT).tolist() == [1, 5, 7]


@pytest.mark.parametrize(
    "other", [replace(SPLIT, y=SPLIT.y[::-1]), replace(SPLIT, x=SPLIT.x + 1), SPLIT.take(np.arange(9), "less")],
    ids=["other labels", "other examples", "fewer"],
)  # fmt: skip
def test_rows_of_another_split_are_refused(tmp_path: Path, other: Split) -> None:
    write_sealed_json(tmp_path / "some.json", selection(SPLIT, np.array([1])))
    with pytest.raises(DataError, match=r"file train.npz \(10 examples\), and the data here is"):
        read_selection(tmp_path / "some.json", other)


def test_another_file_is_refused(tmp_path: Path) -> None:
    write_sealed_json(tmp_path / "some.json", {"indices": [1]})
    with pytest.raises(DataError, match="no selection of examples"):
        read_selection(tmp_path / "some.json", SPLIT)
    with pytest.raises(DataError, match="is missing"):
        read_selection(tmp_path / "none.json", SPLIT)
