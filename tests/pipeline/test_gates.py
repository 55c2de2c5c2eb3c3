"""The accuracy budget in points, and which files have their saturation emulated."""

from pathlib import Path

import pytest

from tinyml.checkpoint import load_compressed
from tinyml.measure.measurement import Measurement, Measurements
from tinyml.pipeline.gates import accuracy_check, saturation_check


def measured(before: float, after: float) -> Measurements:
    values = {"baseline": before, "model": after}
    return {
        subject: {"accuracy": Measurement(metric="accuracy", value=value, unit="share")}
        for subject, value in values.items()
    }


@pytest.mark.parametrize(
    ("before", "after", "budget", "outcome", "said"),
    [
        pytest.param(0.90, 0.89, 1.0, "passed", "+1.00 points lost", id="all of the budget"),
        pytest.param(0.90, 0.8899, 1.0, "failed", "+1.01 points lost", id="a hundredth more"),
        pytest.param(0.8766, 0.8726, 0.4, "passed", "+0.40 points lost", id="0.4 of 0.4"),
        pytest.param(0.90, 0.91, 0.0, "passed", "-1.00 points lost", id="a gain"),
        pytest.param(0.90, 0.90, 0.0, "passed", "+0.00 points lost", id="nothing lost, nothing allowed"),
        pytest.param(0.90, 0.8999, 0.0, "failed", "+0.01 points lost", id="nothing allowed"),
    ],
)
def test_the_drop_in_points_is_held_against_the_budget(before, after, budget, outcome, said) -> None:
    check = accuracy_check(measured(before, after), budget)
    assert check is not None
    assert (check.outcome, check.value, check.bound) == (outcome, said, f"<= {budget:g}")


def test_without_a_budget_there_is_no_check() -> None:
    assert accuracy_check(measured(0.9, 0.1), None) is None


def test_a_file_within_the_bound_is_not_emulated(job, int8_run: Path) -> None:
    module, _ = load_compressed(int8_run)
    assert saturation_check(int8_run / "model.onnx", module, job()) is None
