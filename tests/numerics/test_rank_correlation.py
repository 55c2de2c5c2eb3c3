"""Spearman's correlation against scipy."""

import math

import numpy as np
import pytest
from scipy.stats import spearmanr

from tinyml.numerics.rank_correlation import rank_correlation


@pytest.mark.parametrize("values", [3, 1000], ids=["many ties", "few ties"])
def test_it_is_scipys(values: int) -> None:
    x, y = np.random.default_rng(0).integers(0, values, (2, 200))
    assert rank_correlation(x, x + y) == pytest.approx(spearmanr(x, x + y).statistic, abs=1e-12)


def test_an_order_turned_round_is_minus_one() -> None:
    assert rank_correlation(np.array([1, 2, 3]), np.array([9.0, 4.0, 1.0])) == -1


def test_of_a_constant_nothing_is_known() -> None:
    assert math.isnan(rank_correlation(np.ones(4), np.arange(4)))
