"""What a report says of exits, from numbers that a reader can check."""

from dataclasses import replace

import pytest

from tinyml.measure.measurement import Measurement
from tinyml.numerics.exit_thresholds import ExitGoal, OperatingPoint
from tinyml.passes.exit_choice import ExitChoice
from tinyml.report.exits import exit_cells, exit_facts, exit_histogram
from tinyml.report.model_card import render_model_card
from tinyml.report.page import render_page
from tinyml.report.usage import usage_snippet
from tinyml.runtime.exit_policy import ExitPolicy

POINT = OperatingPoint(thresholds=(0.9,), accuracy=0.8, cost=60.0, shares=(0.8, 0.2))
CHOICE = ExitChoice(
    goal=ExitGoal(rule="max_probability", goal="max_drop_points", budget=2.0, temperature_scaling=True),
    policy=ExitPolicy(rule="max_probability", thresholds=(0.9,), temperatures=(1.5,)),
    examples=50,
    point=POINT,
    accuracies=(0.7, 0.82),
    costs=(50.0, 100.0),
    whole=96.0,
    curve=(replace(POINT, cost=50.0, accuracy=0.7), POINT, replace(POINT, cost=100.0, accuracy=0.82)),
)
EXITS = {
    "exit_0_examples": 30, "exit_0_right": 27, "exit_0_accuracy_of_all": 0.75, "exit_0_macs": 50, "exit_0_threshold": 0.9,
    "exit_1_examples": 10, "exit_1_right": 5, "exit_1_accuracy_of_all": 0.875, "exit_1_macs": 100,
}  # fmt: skip
MEASURED = {
    "early_exits": Measurement(metric="early_exits", value=0.75, unit="share", n=40, details=EXITS),
    "latency_mean_ms": Measurement(metric="latency_mean_ms", value=1, unit="ms", details={"exit_0_median_ms": 0.5}),
}


@pytest.fixture
def facts():
    return exit_facts(MEASURED, CHOICE, ["layer1"])


def test_every_exit_has_a_row(facts) -> None:
    assert exit_cells(facts) == [
        ["0 layer1", "30 (75.0 %)", "90.0 %", "75.0 %", "50", "0.500 ms", "0.9"],
        ["the end", "10 (25.0 %)", "50.0 %", "87.5 %", "100", "-", "-"],
    ]


def test_a_threshold_above_every_confidence_is_never(facts) -> None:
    rows = (replace(facts.rows[0], threshold=2.0, examples=0, right=0), facts.rows[1])
    assert exit_cells(replace(facts, rows=rows))[0][2:] == ["-", "75.0 %", "50", "0.500 ms", "never"]
    patient = replace(facts, rule="patience", rows=rows)
    assert exit_cells(patient)[0][-1] == "never"  # one early exit: no two in a row can agree before the end


def test_the_sentence_tells_the_goal_and_what_was_reached(facts) -> None:
    assert "on 50 validation examples" in facts.chosen
    assert "at most 2 points below the network's own answer" in facts.chosen
    assert "2.00 points are lost and 62.5 % of the multiply-adds stay" in facts.chosen


def test_a_goal_out_of_reach_is_said_to_be_missed() -> None:
    goal = replace(CHOICE.goal, goal="keep_latency", budget=0.5)
    facts = exit_facts(MEASURED, replace(CHOICE, goal=goal), ["layer1"])
    assert facts is not None
    assert facts.chosen.endswith(
        "62.5 % of the milliseconds stay, of those of the uncompressed network. This was not reached."
    )


def test_the_curve_has_the_best_points_the_chosen_one_and_that_of_going_all_the_way(facts) -> None:
    best, chosen, nobody = facts.curve.series
    assert best.x == pytest.approx((5000 / 96, 6000 / 96, 10000 / 96))
    assert (chosen.x, chosen.y) == (pytest.approx((62.5,)), pytest.approx((80.0,)))
    assert (nobody.x, nobody.y) == (pytest.approx((10000 / 96,)), pytest.approx((82.0,)))


def test_the_histogram_names_every_exit(facts) -> None:
    drawn = exit_histogram(facts)
    assert "0 layer1: 30" in drawn
    assert "the end: 10" in drawn


def test_without_a_score_nothing_is_said() -> None:
    assert exit_facts({}, CHOICE, ["layer1"]) is None


def test_the_program_says_where_the_input_left(facts, bare_report) -> None:
    snippet = usage_snippet(replace(bare_report, exits=facts))
    assert 'output, left_at = session.run(["output", "exit"], {"input": x})  # one input at a time' in snippet
    assert "left_at" not in usage_snippet(bare_report)


def test_page_and_card_have_the_table_only_where_there_are_exits(facts, bare_report) -> None:
    with_exits = replace(bare_report, exits=facts)
    for render in (render_page, render_model_card):
        assert "right if all left there" in render(with_exits)
        assert "0 layer1" in render(with_exits)
        assert "right if all left there" not in render(bare_report)
