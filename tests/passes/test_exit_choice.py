import numpy as np
import pytest

from tinyml.numerics.exit_rules import RULES, confidences, exits_taken
from tinyml.numerics.exit_thresholds import ExitGoal
from tinyml.passes.exit_choice import choose_exits

COSTS, WHOLE = [40.0, 70.0, 105.0], 100.0
LABELS = np.random.default_rng(0).integers(0, 4, 400)


def logits() -> np.ndarray:
    """Three exits that see the label through noise, the later ones clearer."""
    generator = np.random.default_rng(1)
    noise = generator.standard_normal((3, 400, 4)) * np.array([3.0, 2.0, 1.0])[:, None, None]
    return (5 * np.eye(4)[LABELS] + noise).astype(np.float32) * 2


def goal(name: str = "max_drop_points", budget: float = 1.0, **more: object) -> ExitGoal:
    chosen = {"rule": "max_probability", "temperature_scaling": True, **more}
    return ExitGoal(goal=name, budget=budget, **chosen)  # type: ignore[arg-type]  # handed through


@pytest.mark.parametrize("rule", RULES)
def test_a_drop_within_the_budget_is_bought_with_as_few_macs_as_can_be(rule):
    found = choose_exits(goal(rule=rule), logits(), LABELS, costs=COSTS, whole=WHOLE)
    assert found.point.accuracy >= found.accuracies[-1] - 0.01
    assert found.point.cost < COSTS[-1]


@pytest.mark.parametrize("rule", RULES)
def test_what_the_policy_says_is_what_it_does(rule):
    found = choose_exits(goal("keep_macs", 0.8, rule=rule), logits(), LABELS, costs=COSTS, whole=WHOLE)
    taken = exits_taken(confidences(rule, logits(), found.policy.temperatures), found.policy.thresholds)
    answers = logits()[taken, np.arange(400)].argmax(axis=1)
    assert found.point.accuracy == pytest.approx((answers == LABELS).mean())
    assert found.point.cost == pytest.approx(np.mean([COSTS[each] for each in taken]))
    assert found.point.cost <= 80
    assert found.point.shares == pytest.approx(np.bincount(taken, minlength=3) / 400)


def test_temperatures_are_fit_only_where_that_is_asked_for_and_means_something():
    scaled = choose_exits(goal(), logits(), LABELS, costs=COSTS, whole=WHOLE).policy.temperatures
    plain = choose_exits(goal(temperature_scaling=False), logits(), LABELS, costs=COSTS, whole=WHOLE)
    patience = choose_exits(goal(rule="patience"), logits(), LABELS, costs=COSTS, whole=WHOLE)
    assert scaled[0] > 1.5  # the first exit is far too sure
    assert plain.policy.temperatures == patience.policy.temperatures == (1.0, 1.0)


def test_every_exit_has_its_accuracy_and_the_curve_rises():
    found = choose_exits(goal(), logits(), LABELS, costs=COSTS, whole=WHOLE)
    assert found.accuracies == pytest.approx([(each.argmax(axis=1) == LABELS).mean() for each in logits()])
    assert [point.cost for point in found.curve] == sorted(point.cost for point in found.curve)
    assert len(found.curve) > 5


def test_a_cost_out_of_reach_gives_the_cheapest_and_says_so():
    found = choose_exits(goal("keep_macs", 0.3), logits(), LABELS, costs=COSTS, whole=WHOLE)
    assert found.kept == pytest.approx(0.4)
    assert not found.reached
    assert found.point.shares == (1.0, 0.0, 0.0)


def test_what_other_examples_lose_more_is_taken_off_the_budget_down_to_losing_nothing_here():
    wide, none = (choose_exits(goal(budget=b), logits(), LABELS, costs=COSTS, whole=WHOLE) for b in (10.0, 0.0))
    assert 0 < wide.optimism_points < 10
    assert wide.drop_points <= 10 - wide.optimism_points
    assert (none.optimism_points > 0, none.drop_points <= 0) == (True, True)
    assert (wide.doubt, none.doubt != "") == ("", True)


def test_that_nobody_leaves_is_doubted():
    late = np.stack([np.zeros((400, 4)), np.zeros((400, 4)), 9 * np.eye(4)[LABELS]]).astype(np.float32)
    found = choose_exits(goal(), late, LABELS, costs=COSTS, whole=WHOLE)
    assert found.point.shares == (0, 0, 1)
    assert "nobody leaves early" in found.doubt


def test_a_cost_within_reach_is_reached():
    assert choose_exits(goal("keep_macs", 0.8), logits(), LABELS, costs=COSTS, whole=WHOLE).reached
