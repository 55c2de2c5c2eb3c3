"""The accuracy budget in points, and which files have their saturation emulated."""

from pathlib import Path

import pytest

from tinyml.checkpoint import load_compressed
from tinyml.data import Task
from tinyml.measure.measurement import Measurement, Measurements
from tinyml.pipeline.gates import accuracy_check, saturation_check, score_checks
from tinyml.pipeline.reference import reference_of


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


def test_a_file_within_the_bound_is_not_emulated(digits: Task, int8_run: Path) -> None:
    module, _ = load_compressed(int8_run)
    reference = reference_of(module, digits, pixels=False, input_shape=(1, 8, 8))
    assert saturation_check(int8_run / "model.onnx", module, digits, reference) is None


SIZES: Measurements = {subject: {} for subject in ("baseline", "model")}


@pytest.mark.parametrize(
    ("measurements", "kind", "budget", "names"),
    [
        pytest.param(SIZES, None, None, [], id="no data"),
        pytest.param(measured(0.9, 0.9), "classification", None, [], id="scored"),
        pytest.param(measured(0.9, 0.9), "classification", 1.0, [("accuracy budget", "passed")], id="a budget"),
        pytest.param(SIZES, "reconstruction", None, [("score", "failed")], id="no score"),
        pytest.param(
            SIZES, "classification", 1.0, [("score", "failed"), ("accuracy budget", "failed")], id="a budget, no score"
        ),
    ],
)
def test_a_score_that_could_not_be_measured_fails(measurements, kind, budget, names: list[tuple[str, str]]) -> None:
    assert [(check.name, check.outcome) for check in score_checks(measurements, kind, budget)] == names
