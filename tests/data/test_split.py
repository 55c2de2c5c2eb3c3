import numpy as np
import pytest

from tinyml.data.split import Split, carve_validation, only_normal


def numbered(labels: list[int]) -> Split:
    return Split(x=np.arange(len(labels), dtype=np.float32)[:, None], y=np.array(labels), source="file t.npz")


def test_floats_become_float32_and_labels_int64():
    split = Split(x=np.zeros((2, 3)), y=np.zeros(2, np.uint8), source="memory")
    assert (split.x.dtype, split.y.dtype) == (np.float32, np.int64)


def test_carving_takes_the_share_of_each_class_and_loses_nothing():
    train, validation = carve_validation(numbered([0] * 20 + [1] * 10 + [2] * 30), 0.1)
    assert np.bincount(validation.y).tolist() == [2, 1, 3]
    assert sorted([*train.x[:, 0], *validation.x[:, 0]]) == list(range(60))


def test_carving_twice_gives_the_same_examples():
    first, second = (carve_validation(numbered([0, 1] * 50), 0.2)[1] for _ in range(2))
    assert np.array_equal(first.x, second.x)


def test_carving_says_so():
    train, validation = carve_validation(numbered([0, 1] * 50), 0.2)
    assert validation.source == "carved from train (0.2 of file t.npz)"
    assert train.source == "file t.npz, without the 20 carved for validation"


@pytest.mark.parametrize("share", [0.001, 0.999])
def test_carving_leaves_both_sides_an_example_of_each_class(share: float):
    train, validation = carve_validation(numbered([0, 0, 1, 1]), share)
    assert set(train.y) == set(validation.y) == {0, 1}


def test_a_class_of_one_example_stays_in_train():
    train, validation = carve_validation(numbered([0, 0, 1]), 0.5)
    assert 1 in train.y
    assert 1 not in validation.y


def test_only_normal_drops_the_anomalous_and_says_so():
    normal = only_normal(numbered([0, 1, 0]))
    assert normal.x[:, 0].tolist() == [0, 2]
    assert normal.source == "file t.npz, its 2 normal examples"
