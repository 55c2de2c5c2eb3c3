"""The rising line, by hand and against scikit-learn."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.isotonic import isotonic_regression

from tinyml.numerics.isotonic import rising


@pytest.mark.parametrize(
    ("values", "expected"),
    [([], []), ([1, 2, 3], [1, 2, 3]), ([3, 2, 1], [2, 2, 2]), ([0, 4, 2, 3, 9], [0, 3, 3, 3, 9])],
)
def test_what_falls_is_averaged(values: list[float], expected: list[float]) -> None:
    assert rising(np.array(values, np.float64)).tolist() == expected


@given(st.lists(st.integers(-50, 50), min_size=1, max_size=30))
def test_it_is_the_line_of_scikit_learn(values: list[int]) -> None:
    ours = rising(np.array(values, np.float64))
    np.testing.assert_allclose(ours, isotonic_regression(np.array(values, np.float64)), atol=1e-9)
