"""Levels within a size or a loss, against all combinations."""

from itertools import product

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tinyml.numerics.allocation import Allocations

LEVEL = st.tuples(st.integers(0, 9), st.integers(0, 20))
TABLE = st.lists(st.lists(LEVEL, min_size=1, max_size=4), min_size=1, max_size=4)


def totals(table: list[list[tuple[int, int]]]) -> list[tuple[int, int]]:
    """(size, loss) of every combination of levels."""
    return [(sum(s for s, _ in each), sum(loss for _, loss in each)) for each in product(*table)]


def filled(table: list[list[tuple[int, int]]]) -> Allocations:
    return Allocations([[s for s, _ in each] for each in table], [[loss for _, loss in each] for each in table])


def total(table: list[list[tuple[int, int]]], levels: tuple[int, ...]) -> tuple[int, int]:
    taken = [each[level] for each, level in zip(table, levels, strict=True)]
    return sum(s for s, _ in taken), sum(loss for _, loss in taken)


@given(TABLE, st.integers(0, 40))
def test_no_combination_within_the_size_loses_less(table: list[list[tuple[int, int]]], most: int) -> None:
    levels, allowed = filled(table).within_size(most), [each for each in totals(table) if each[0] <= most]
    assert (levels is None) == (not allowed)
    if levels is not None:
        size, loss = total(table, levels)
        best = min(loss for _, loss in allowed)
        assert (size, loss) == (min(size for size, other in allowed if other == best), best)


@given(TABLE, st.integers(0, 80))
def test_no_combination_within_the_loss_is_smaller(table: list[list[tuple[int, int]]], most: int) -> None:
    levels, allowed = filled(table).within_loss(most), [each for each in totals(table) if each[1] <= most]
    assert (levels is None) == (not allowed)
    if levels is not None:
        size, loss = total(table, levels)
        assert loss <= most
        assert size == min(size for size, _ in allowed)


def test_the_extremes_are_known() -> None:
    table = filled([[(3, 5), (8, 1)], [(2, 7), (4, 2)]])
    assert (table.smallest, table.least_loss, table.unit) == (5, 3, 1)


@pytest.mark.parametrize("most", [10_000_000, 14_000_000, 15_999_999])
def test_sizes_too_many_to_count_are_rounded_up_and_never_passed(most: int) -> None:
    sizes = [[1_000_003 * level for level in (1, 2, 4)]] * 8
    table = Allocations(sizes, [[4.0, 1.0, 0.0]] * 8)
    levels = table.within_size(most)
    assert levels is not None
    chosen = sum(each[level] for each, level in zip(sizes, levels, strict=True))
    assert table.unit == 367  # 8 x 3,000,009 bytes in 65,536 units
    assert most - 1_000_003 - 8 * table.unit < chosen <= most
