import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tinyml.numerics.exit_rules import never
from tinyml.numerics.exit_thresholds import (
    ExitTable,
    OperatingPoint,
    best_accuracy,
    fewest_cost,
    optimism,
    trade_off,
)

COSTS = np.array([1.0, 3.0, 4.0, 7.0])


def table(seed: int, *, exits: int = 2, examples: int = 7, rule: str = "margin") -> ExitTable:
    """Random confidences of two decimals, later exits more often right; patience counts 1 to the exit's number."""
    generator = np.random.default_rng(seed)
    confidences = generator.integers(1, 100, (exits, examples)) / 100
    if rule == "patience":
        confidences = np.stack([generator.integers(1, i + 2, examples) for i in range(exits)])
    right = generator.random((exits + 1, examples)) < np.linspace(0.5, 0.9, exits + 1)[:, None]
    return ExitTable(rule=rule, confidences=confidences.astype(np.float32), correct=right, costs=COSTS[-exits - 1 :])


def every_point(of: ExitTable) -> list[OperatingPoint]:
    """By brute force: a threshold at each confidence that occurs, and never."""
    rows = [[*sorted(set(row.tolist())), never(of.rule, exits=len(of.confidences))] for row in of.confidences]
    return [of.point(thresholds) for thresholds in itertools.product(*rows)]


def test_a_point_is_counted_by_hand():
    of = ExitTable(
        rule="margin",
        confidences=np.array([[0.9, 0.2, 0.3, 0.1]], np.float32),
        correct=np.array([[True, False, True, False], [False, True, True, False]]),
        costs=np.array([10.0, 30.0]),
    )
    expected = OperatingPoint(thresholds=(0.3,), accuracy=0.75, cost=20.0, shares=(0.5, 0.5))
    assert of.point([0.3]) == expected


@given(seed=st.integers(0, 10_000), exits=st.integers(1, 3), rule=st.sampled_from(["margin", "patience"]))
def test_the_fewest_cost_is_that_of_brute_force(seed, exits, rule):
    of = table(seed, exits=exits, rule=rule)
    points = every_point(of)
    for least in {point.accuracy for point in points}:
        found = fewest_cost(of, most_lost=of.point(of.nobody).accuracy - least)
        assert found.accuracy >= least
        assert found.cost == pytest.approx(min(point.cost for point in points if point.accuracy >= least))


@given(seed=st.integers(0, 10_000), exits=st.integers(1, 3), rule=st.sampled_from(["margin", "patience"]))
def test_the_best_accuracy_is_that_of_brute_force(seed, exits, rule):
    of = table(seed, exits=exits, rule=rule)
    points = every_point(of)
    for most in {point.cost for point in points}:
        found = best_accuracy(of, most_cost=most)
        assert found.cost <= most * (1 + 1e-9)
        assert found.accuracy == max(point.accuracy for point in points if point.cost <= most)


@given(seed=st.integers(0, 10_000))
def test_what_a_point_says_is_what_its_thresholds_do_and_costs_add_up(seed):
    of = table(seed, examples=50)
    found = best_accuracy(of, most_cost=3.5)
    assert found == of.point(found.thresholds)
    assert found.cost == pytest.approx(np.dot(found.shares, of.costs))
    assert sum(found.shares) == pytest.approx(1)


@pytest.mark.parametrize("exits", [4, 6])
def test_many_exits_keep_the_budget_and_are_no_worse_than_one_threshold_for_all(exits):
    of = ExitTable(**{**vars(table(0, exits=2)), **_many(exits)})
    least = of.point(of.nobody).accuracy - 0.02
    found = fewest_cost(of, most_lost=0.02)
    common = [of.point([t] * exits) for t in np.linspace(0, 1, 101)]
    assert found.accuracy >= least
    assert found.cost <= min(point.cost for point in common if point.accuracy >= least)


def _many(exits: int, examples: int = 300) -> dict[str, np.ndarray]:
    """Examples that are right with the probability that they are sure of."""
    generator = np.random.default_rng(1)
    sure = generator.random((exits + 1, examples)) ** (1 / np.arange(1, exits + 2))[:, None]
    right = generator.random(sure.shape) < sure
    return {"confidences": sure[:-1].astype(np.float32), "correct": right, "costs": np.arange(1.0, exits + 2)}


def test_what_the_best_thresholds_lose_more_on_other_examples_is_foretold():
    everybody = ExitTable(**{**vars(table(0, exits=2)), **_many(2, examples=20_000)})
    generator = np.random.default_rng(0)
    draws = [everybody.of(generator.integers(0, 20_000, 400)) for _ in range(60)]
    fixed = [0.9, 0.8]  # thresholds that were not chosen lose alike, but for the draw: what remains is the choice

    def gap(of: ExitTable, thresholds: list[float]) -> float:
        return everybody.lost(thresholds) - of.lost(thresholds)

    found = [gap(of, list(fewest_cost(of, most_lost=0.03, enumerated=256).thresholds)) - gap(of, fixed) for of in draws]
    foretold = np.mean([optimism(of, most_lost=0.03, seed=0) for of in draws[:4]])
    assert 0.004 < 0.5 * np.mean(found) < foretold < 1.5 * np.mean(found)


def test_where_nobody_is_right_about_less_nothing_more_is_lost():
    of = ExitTable(**{**vars(table(0)), "correct": np.ones((3, 7), dtype=bool)})
    assert optimism(of, most_lost=0.0, seed=0) == 0


def test_an_accuracy_out_of_reach_gives_the_network_to_its_end():
    of = table(0)
    found = fewest_cost(of, most_lost=-1.01)
    assert found.shares == (0, 0, 1)


def test_a_cost_out_of_reach_gives_the_cheapest():
    found = best_accuracy(table(0), most_cost=0.5)
    assert found.shares == (1, 0, 0)


def test_thresholds_of_probabilities_have_four_decimals_and_stay_below_one():
    of = ExitTable(
        rule="max_probability",
        confidences=np.array([[1.0, 0.123456]], np.float32),
        correct=np.ones((2, 2), dtype=bool),
        costs=np.array([1.0, 2.0]),
    )
    assert of.candidates[0].tolist() == [2.0, 0.9999, 0.1234, 0.0]


def test_the_trade_off_rises_in_cost_and_accuracy_and_ends_at_the_budget_of_everybody():
    points = trade_off(table(3, examples=200), points=6)
    costs, accuracies = [point.cost for point in points], [point.accuracy for point in points]
    assert costs == sorted(costs)
    assert accuracies == sorted(accuracies)
    assert len(points) > 2
