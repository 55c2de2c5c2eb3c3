import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from tinyml.numerics.exit_rules import (
    NEVER,
    RULES,
    confidence,
    confidences,
    exits_taken,
    is_never,
    never,
    run_lengths,
    threshold_fault,
)

PROBABILITIES = np.array([[0.7, 0.2, 0.1]])
LOGITS = np.log(PROBABILITIES).astype(np.float32)
ENTROPY = -sum(p * math.log(p) for p in (0.7, 0.2, 0.1))
EXPECTED = {"max_probability": 0.7, "margin": 0.5, "entropy": 1 - ENTROPY / math.log(3)}


@pytest.mark.parametrize("rule", EXPECTED)
def test_a_confidence_is_its_formula(rule):
    assert confidence(rule, LOGITS, 1.0)[0] == pytest.approx(EXPECTED[rule], rel=1e-5)


@pytest.mark.parametrize("rule", EXPECTED)
def test_a_temperature_divides_the_logits(rule):
    assert confidence(rule, 3 * LOGITS, 3.0)[0] == pytest.approx(EXPECTED[rule], rel=1e-5)


@pytest.mark.parametrize("rule", EXPECTED)
@given(logits=arrays.arrays(np.float32, (3, 4), elements=st.floats(-1e4, 1e4, width=32)))
def test_a_confidence_lies_from_0_to_1_and_does_not_overflow(rule, logits):
    found = confidence(rule, logits, 0.1)
    # A sum of four terms in float32.
    least = 0 if rule == "entropy" else -4 * 2**-22
    assert ((found >= least) & (found <= 1 + 4 * 2**-22)).all()


@pytest.mark.parametrize("classes", [2, 3, 6, 12, 1000])
def test_with_a_threshold_of_0_equal_logits_leave_under_entropy(classes):
    assert confidence("entropy", np.zeros((1, classes), np.float32), 1.0)[0] >= 0


@pytest.mark.parametrize("rule", EXPECTED)
def test_equal_logits_are_least_sure_and_one_far_ahead_most(rule):
    low, high = confidence(rule, np.array([[5, 5], [0, 200]], np.float32), 1.0)
    assert (low, high) == pytest.approx((0.5 if rule == "max_probability" else 0.0, 1.0), abs=1e-6)


def test_a_run_grows_with_equal_answers_and_starts_anew_with_another():
    lengths = run_lengths(np.array([3, 4]), np.array([3, 3]), np.array([2, 2], np.float32))
    assert lengths.tolist() == [3, 1]


def test_patience_counts_exits_in_a_row_by_example_and_leaves_out_the_networks_end():
    answers = np.array([[0, 1], [0, 0], [0, 0], [1, 1]])
    logits = np.eye(2, dtype=np.float32)[answers]
    assert confidences("patience", logits, [1.0] * 3).tolist() == [[1, 1], [2, 1], [3, 2]]


def test_every_exit_has_its_own_temperature():
    logits = np.stack([LOGITS, 2 * LOGITS, LOGITS])
    assert confidences("margin", logits, [1.0, 2.0])[:, 0] == pytest.approx([0.5, 0.5], rel=1e-5)


def test_an_example_leaves_at_the_first_exit_that_is_sure_enough_each_on_its_own():
    found = np.array([[0.9, 0.1, 0.5], [0.9, 0.8, 0.1]], np.float32)
    assert exits_taken(found, [0.9, 0.8]).tolist() == [0, 1, 2]


@pytest.mark.parametrize("rule", RULES)
def test_nobody_leaves_where_a_threshold_says_never(rule):
    logits = np.zeros((3, 5, 2), np.float32)
    found = confidences(rule, logits, [1.0, 1.0])
    assert exits_taken(found, [never(rule, exits=2)] * 2).tolist() == [2] * 5


@pytest.mark.parametrize("rule", RULES)
def test_what_never_means_is_a_threshold_of_its_rule(rule):
    assert threshold_fault(rule, never(rule, exits=2)) == ""


@pytest.mark.parametrize("rule", RULES)
def test_never_is_known_from_the_highest_threshold_at_which_one_may_leave(rule):
    highest = 2 if rule == "patience" else 1  # at the second exit two in a row may agree
    assert is_never(rule, never(rule, exits=2), exit_index=1)
    assert not is_never(rule, highest, exit_index=1)
    assert is_never(rule, 2, exit_index=0)


@pytest.mark.parametrize(
    ("rule", "threshold", "fault"),
    [
        pytest.param("max_probability", 1.5, "1.5: max_probability lies from 0", id="above 1"),
        pytest.param("entropy", -0.1, "-0.1: entropy lies from 0", id="below 0"),
        pytest.param("margin", math.nan, "nan: margin lies from 0", id="no number"),
        pytest.param("patience", 0.5, "0.5: patience wants a whole number", id="a share of an exit"),
        pytest.param("patience", 0, "0: patience wants a whole number", id="no exit"),
        pytest.param("margin", NEVER, "", id="never"),
        pytest.param("patience", 2, "", id="two exits"),
    ],
)
def test_a_threshold_out_of_range_is_named_with_what_is_allowed(rule, threshold, fault):
    assert threshold_fault(rule, threshold).startswith(fault)
    assert bool(fault) == bool(threshold_fault(rule, threshold))
