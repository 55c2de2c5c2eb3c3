import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tinyml.numerics.temperature import HIGHEST, LOWEST, fit_temperature


def loss(logits: np.ndarray, labels: np.ndarray, temperature: float) -> float:
    z = logits / temperature
    return float((np.log(np.exp(z).sum(axis=1)) - z[np.arange(len(z)), labels]).mean())


def test_two_classes_right_three_times_in_four_have_odds_of_three():
    """The likelihood is largest where p = 3/4, so that the difference of the logits over T is log 3."""
    logits = np.array([[4.0, 0.0]] * 4)
    assert fit_temperature(logits, np.array([0, 0, 0, 1])) == pytest.approx(4 / math.log(3), rel=1e-9)


@given(seed=st.integers(0, 1000), scale=st.floats(0.5, 5))
def test_no_temperature_of_a_fine_grid_is_better(seed, scale):
    generator = np.random.default_rng(seed)
    logits, labels = scale * generator.standard_normal((20, 3)), generator.integers(0, 3, 20)
    found = loss(logits, labels, fit_temperature(logits, labels))
    assert found <= min(loss(logits, labels, t) for t in np.geomspace(LOWEST, HIGHEST, 200)) + 1e-9


@pytest.mark.parametrize(("labels", "limit"), [([0, 1], LOWEST), ([1, 0], HIGHEST)], ids=["all right", "all wrong"])
def test_what_has_no_best_temperature_gets_the_limit(labels, limit):
    assert fit_temperature(np.eye(2), np.array(labels)) == pytest.approx(limit, rel=1e-6)
