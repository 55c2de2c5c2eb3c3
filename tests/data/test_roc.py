import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tinyml.data.roc import roc_auc
from tinyml.errors import DataError


def share_of_pairs_in_order(scores: np.ndarray, anomalous: np.ndarray) -> float:
    difference = scores[anomalous == 1][:, None] - scores[anomalous == 0][None, :]
    return float(((difference > 0) + 0.5 * (difference == 0)).mean())


@given(st.lists(st.tuples(st.integers(0, 5), st.integers(0, 1)), min_size=2, max_size=40))
def test_it_is_the_share_of_pairs_in_order_ties_counting_half(examples: list[tuple[int, int]]):
    scores, anomalous = np.array(examples).T
    if 0 < anomalous.sum() < len(anomalous):
        expected = share_of_pairs_in_order(scores, anomalous)
        assert roc_auc(scores.astype(float), anomalous) == pytest.approx(expected, abs=1e-12)


@pytest.mark.parametrize(("scores", "auc"), [([1, 2, 3, 4], 1.0), ([4, 3, 2, 1], 0.0), ([1, 1, 1, 1], 0.5)])
def test_it_is_one_zero_and_a_half_for_perfect_reversed_and_equal_scores(scores: list[int], auc: float):
    assert roc_auc(np.array(scores, float), np.array([0, 0, 1, 1])) == auc


@pytest.mark.parametrize("label", [0, 1])
def test_one_kind_alone_is_refused(label: int):
    with pytest.raises(DataError, match="needs normal and anomalous"):
        roc_auc(np.ones(3), np.full(3, label))


def test_nan_scores_are_refused():
    with pytest.raises(DataError, match="1 NaN among 2"):
        roc_auc(np.array([np.nan, 1.0]), np.array([0, 1]))
