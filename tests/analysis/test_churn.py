"""What a compressed network loses and gains by the depth of the examples."""

import json
from pathlib import Path

import numpy as np
import pytest

from tinyml.analysis.churn import Depths, churn, read_depths
from tinyml.errors import DataError
from tinyml.manifest import write_manifest

LABELS = np.array([0, 1, 0, 1, 0, 1])
BEFORE = np.array([True, True, True, False, True, False])
AFTER = np.array([True, False, True, True, False, False])
ANSWERS = np.where(BEFORE, LABELS, 1 - LABELS)


def depths(indices: list[int], depth: list[int]) -> Depths:
    """Return depths of these examples, of the network that is right on BEFORE."""
    rows = np.array(indices)
    return Depths(indices=rows, depth=np.array(depth), labels=LABELS[rows], predictions=ANSWERS[rows])


ALL = depths([0, 1, 2, 3, 4, 5], [1, 1, 1, 1, 3, 3])


def folder(path: Path, **arrays: np.ndarray) -> Path:
    """Return a sealed folder with the arrays in its depths.npz, those of ALL where none are given."""
    path.mkdir()
    usual = {"indices": ALL.indices, "depth": ALL.depth.astype(np.int16), "label": LABELS, "prediction": ANSWERS}
    np.savez(path / "depths.npz", **(arrays or {f"test_{name}": values for name, values in usual.items()}))
    write_manifest(path, fingerprint={}, fields={})
    return path


def test_examples_are_lost_and_gained_at_their_depth() -> None:
    shallow, deep = churn(BEFORE, AFTER, ALL).by_depth
    assert (shallow.depth, shallow.n, shallow.right_before, shallow.lost, shallow.gained) == (1, 4, 3, (1,), (3,))
    assert (deep.depth, deep.n, deep.right_before, deep.lost, deep.gained) == (3, 2, 1, (4,), ())
    assert (shallow.net, deep.net, deep.lost_share) == (0, -0.5, 1)


def test_the_total_counts_every_example_once() -> None:
    total = churn(BEFORE, AFTER, ALL).total
    assert (total.depth, total.n, total.right_before, total.lost, total.gained) == (None, 6, 4, (1, 4), (3,))
    assert total.lost_interval == pytest.approx((0.1500, 0.8500), abs=5e-5)  # Wilson, 2 of 4


def test_only_the_examples_whose_depth_is_known_count() -> None:
    assert churn(BEFORE, AFTER, depths([4, 3], [2, 2])).total.lost == (4,)


def test_depths_of_another_network_are_noticed() -> None:
    assert churn(BEFORE, AFTER, ALL).dense_alike == 1
    assert churn(AFTER, BEFORE, ALL).dense_alike == 3 / 6


def test_nothing_can_be_lost_where_nothing_was_right() -> None:
    row = churn(~BEFORE, AFTER, depths([0], [2])).total
    assert (row.lost_share, row.lost_interval) == (None, None)
    assert json.loads(json.dumps(row.to_json()))["gained_examples"] == [0]


def test_depths_are_read_from_a_sealed_folder(tmp_path: Path) -> None:
    found = read_depths(folder(tmp_path / "difficulty"), "test", LABELS)
    assert churn(BEFORE, AFTER, found) == churn(BEFORE, AFTER, ALL)


@pytest.mark.parametrize(
    ("split", "labels", "message"),
    [
        pytest.param("validation", LABELS, "has no 'validation_indices'; it holds test_depth", id="another split"),
        pytest.param("test", 1 - LABELS, "other labels", id="other data"),
        pytest.param("test", LABELS[:3], "other examples", id="fewer examples"),
    ],
)
def test_depths_of_other_data_are_refused(tmp_path: Path, split: str, labels: np.ndarray, message: str) -> None:
    with pytest.raises(DataError, match=f"{message}.*: run `tinyml difficulty` on this data"):
        read_depths(folder(tmp_path / "difficulty"), split, labels)


def test_a_folder_without_depths_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"holds no depths\.npz"):
        read_depths(tmp_path, "test", LABELS)


def test_changed_depths_are_refused(tmp_path: Path) -> None:
    path = folder(tmp_path / "difficulty")
    np.savez(path / "depths.npz", test_depth=ALL.depth)
    with pytest.raises(DataError, match="was changed"):
        read_depths(path, "test", LABELS)


def test_depths_that_are_no_numbers_are_refused(tmp_path: Path) -> None:
    words = np.array(["deep"] * 6)
    names = ("indices", "depth", "label", "prediction")
    path = folder(tmp_path / "difficulty", **{f"test_{name}": words for name in names})
    with pytest.raises(DataError, match="is damaged"):
        read_depths(path, "test", LABELS)
