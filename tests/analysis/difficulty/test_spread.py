"""Examples spread over depths."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from tinyml.analysis.difficulty.spread import spread_over_depths


def counts(depths: np.ndarray, wanted: int, seed: int = 0) -> list[int]:
    chosen = spread_over_depths(depths, wanted, seed=seed)
    return np.bincount(depths[chosen], minlength=depths.max() + 1).tolist()


def test_each_depth_gives_the_same_and_a_small_one_gives_all() -> None:
    depths = np.repeat([0, 1, 2], [100, 3, 50])
    assert counts(depths, 30) == [14, 3, 13]


def test_of_too_few_all_are_taken_in_order() -> None:
    assert spread_over_depths(np.array([2, 0, 1]), 10, seed=0).tolist() == [0, 1, 2]


@given(st.lists(st.integers(0, 4), min_size=1, max_size=60), st.integers(1, 60), st.integers(0, 9))
def test_no_depth_gives_more_than_one_beyond_another_that_has_more(raw: list[int], wanted: int, seed: int) -> None:
    depths = np.asarray(raw)
    given_, there = counts(depths, wanted, seed), np.bincount(depths).tolist()
    assert sum(given_) == min(wanted, len(depths))
    full = max(given_)
    assert all(own == has or own >= full - 1 for own, has in zip(given_, there, strict=True))


def test_the_seed_draws() -> None:
    depths = np.zeros(50, dtype=np.int64)
    assert spread_over_depths(depths, 10, seed=0).tolist() != spread_over_depths(depths, 10, seed=1).tolist()
