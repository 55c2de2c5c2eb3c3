"""Codebooks are found in the values: for the whole tensor, or for runs of channels."""

import numpy as np
import pytest

from tinyml.export.storage.codebooks import Codebook, find_codebook, find_range

OPSET = 25


def found(values: np.ndarray, count: int = 1) -> Codebook | None:
    return find_codebook(values, np.arange(values.size) * count // values.size, count, OPSET)


def looked_up(book: Codebook) -> np.ndarray:
    groups = len(book.table)
    return np.take_along_axis(book.table, book.indices.reshape(groups, -1), axis=1).reshape(-1)


def test_the_table_holds_each_value_once() -> None:
    values = np.tile(np.float32([3, -1, 0.5]), 40)
    book = found(values)
    assert (sorted(book.table[0].tolist()), book.base) == ([-1, 0.5, 3], 3)
    np.testing.assert_array_equal(looked_up(book), values)


def test_runs_of_channels_with_values_of_their_own_get_tables_of_their_own() -> None:
    values = np.random.default_rng(0).choice(8, (4, 500)).astype(np.float32) + 100 * np.arange(4)[:, None] // 200 * 200
    book = found(values.reshape(-1), count=4)
    assert book.table.shape == (2, 8)
    np.testing.assert_array_equal(looked_up(book), values.reshape(-1))


def test_a_group_with_fewer_values_repeats_its_last() -> None:
    values = np.concatenate([np.full(400, 7), np.tile([1, 2, 3, 4], 100)]).astype(np.float32)
    book = found(values, count=2)  # 200 bytes of digits and 32 of tables, in place of 240 and 20
    assert book.table.tolist() == [[7, 7, 7, 7], [1, 2, 3, 4]]
    np.testing.assert_array_equal(looked_up(book), values)


def test_elements_that_were_left_out_leave_a_group_empty() -> None:
    values = np.repeat(np.float32([1, 2, 3, 4]), 300)
    channels = np.repeat([0, 3], 600)  # nothing of channels 1 and 2 is kept
    book = find_codebook(values, channels, 4, OPSET)
    row = channels * len(book.table) // 4
    np.testing.assert_array_equal(book.table[row, book.indices], values)


@pytest.mark.parametrize(
    "values",
    [
        np.random.default_rng(0).standard_normal(5000).astype(np.float32),
        np.arange(300, dtype=np.float32).repeat(50),
        np.float32([1, 2]),
        np.zeros(0, np.float32),
    ],
    ids=["all differ", "more than 256", "too short", "empty"],
)
def test_a_tensor_without_few_values_has_none(values: np.ndarray) -> None:
    assert found(values) is None


def test_a_range_holds_every_integer_between_the_lowest_and_the_highest() -> None:
    book = find_range(np.int8([5, -2, 1]))
    assert (book.table.tolist(), book.indices.tolist()) == ([[-2, -1, 0, 1, 2, 3, 4, 5]], [7, 0, 3])


@pytest.mark.parametrize("values", [np.float32([1, 2]), np.int32([0, 256]), np.zeros(0, np.int8)], ids=str)
def test_floats_and_wide_integers_have_no_range(values: np.ndarray) -> None:
    assert find_range(values) is None
