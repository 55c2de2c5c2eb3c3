"""Agreement on arrays whose shares and differences a reader can count."""

import numpy as np
import pytest

from tinyml.verification.agreement import AGREEMENT, AGREEMENT_CHECKS, Reference, agreement_checks
from tinyml.verification.check import Check


def reference(outputs: np.ndarray, *, real: bool = True, classification: bool = True) -> Reference:
    return Reference(inputs=np.zeros((len(outputs), 1)), outputs=outputs, real=real, classification=classification)


def one_hot(classes: list[int], width: int = 4) -> np.ndarray:
    return np.eye(width, dtype=np.float32)[classes]


def check_named(checks: list[Check], name: str) -> Check | None:
    return next((check for check in checks if check.name == name), None)


def agreement(outputs: np.ndarray, other: np.ndarray, precision="int8", bound=None, **kind) -> Check | None:
    checks = agreement_checks(reference(outputs, **kind), other, precision, bound)
    return check_named(checks, "same answer as the torch model")


def test_the_default_bounds_are_those_of_the_contract() -> None:
    assert AGREEMENT == {"float32": 0.999, "float16": 0.99, "int8": 0.99}


@pytest.mark.parametrize(
    ("precision", "of", "misses", "outcome"),
    [
        pytest.param("int8", 100, 1, "passed", id="int8: 99 of 100"),
        pytest.param("int8", 100, 2, "failed", id="int8: 98 of 100"),
        pytest.param("float16", 100, 1, "passed", id="half: 99 of 100"),
        pytest.param("float32", 1000, 1, "passed", id="float: 999 of 1000"),
        pytest.param("float32", 1000, 2, "failed", id="float: 998 of 1000"),
    ],
)
def test_the_share_of_equal_answers_is_held_against_the_precisions_bound(precision, of, misses, outcome) -> None:
    check = agreement(one_hot([0] * of), one_hot([1] * misses + [0] * (of - misses)), precision)
    assert check is not None
    assert (check.outcome, check.value) == (outcome, f"{1 - misses / of:.2%} of {of}")


@pytest.mark.parametrize(("bound", "outcome"), [(0.5, "passed"), (0.75, "passed"), (0.8, "failed"), (1.0, "failed")])
def test_a_recipes_bound_replaces_the_default(bound: float, outcome: str) -> None:
    check = agreement(one_hot([0, 1, 2, 3]), one_hot([0, 1, 2, 2]), "float32", bound)
    assert check is not None
    assert check.outcome == outcome


@pytest.mark.parametrize(
    "kind",
    [
        pytest.param({"real": False}, id="random inputs"),
        pytest.param({"classification": False}, id="reconstruction"),
    ],
)
def test_no_class_is_compared_where_it_would_mean_nothing(kind: dict[str, bool]) -> None:
    assert agreement(one_hot([0, 1]), one_hot([1, 0]), **kind) is None


@pytest.mark.parametrize(
    ("precision", "difference", "outcome"),
    [
        pytest.param("float32", 0.9e-2, "passed", id="float within a thousandth of the range 10"),
        pytest.param("float32", 1.1e-2, "failed", id="float beyond it"),
        pytest.param("int8", 5.0, "noted", id="int8: noted"),
        pytest.param("float16", 5.0, "noted", id="half: noted"),
    ],
)
def test_the_largest_difference_is_demanded_of_float32_alone(precision, difference, outcome) -> None:
    outputs = np.array([[0, 10], [0, 10]], np.float32)
    check = check_named(
        agreement_checks(reference(outputs), outputs + difference, precision, None), "largest difference"
    )
    assert check is not None
    assert (check.outcome, check.value.split()[0]) == (outcome, f"{difference / 10:.2e}")


@pytest.mark.parametrize(
    ("precision", "share", "outcome"),
    [
        pytest.param("float16", 0.019, "passed", id="half within a fiftieth"),
        pytest.param("float16", 0.021, "failed", id="half beyond it"),
        pytest.param("int8", 0.09, "passed", id="int8 within a tenth"),
        pytest.param("int8", 0.11, "failed", id="int8 beyond it"),
    ],
)
@pytest.mark.parametrize("kind", [{"real": False}, {"classification": False}], ids=["random inputs", "reconstruction"])
def test_without_answers_to_count_the_root_mean_square_is_bounded(precision, share, outcome, kind) -> None:
    outputs = np.array([[3, 0], [0, 4]], np.float32)  # norm 5
    file = outputs + np.array([[0, 5 * share], [0, 0]], np.float32)
    check = check_named(
        agreement_checks(reference(outputs, **kind), file, precision, None), "root-mean-square difference"
    )
    assert check is not None
    assert (check.outcome, check.value) == (outcome, f"{share:.2e} of the outputs")


@pytest.mark.parametrize("precision", ["float32", "float16", "int8"])
@pytest.mark.parametrize("kind", [{}, {"real": False}, {"classification": False}], ids=["real", "random", "pictures"])
def test_every_file_is_held_against_a_bound(precision, kind) -> None:
    outputs = one_hot([0, 1])
    checks = agreement_checks(reference(outputs, **kind), outputs, precision, None)
    assert any(check.outcome == "passed" for check in checks if check.name in AGREEMENT_CHECKS)


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_an_output_that_is_not_finite_fails_whatever_the_precision(bad: float) -> None:
    outputs = one_hot([0, 1])
    broken = outputs.copy()
    broken[1, 2] = bad
    check = check_named(agreement_checks(reference(outputs), broken, "int8", None), "finite outputs")
    assert check is not None
    assert (check.outcome, check.value) == ("failed", "1 NaN or Inf")


def test_a_float_file_with_nan_fails_the_difference_too() -> None:
    outputs = one_hot([0, 1])
    checks = agreement_checks(reference(outputs), outputs * np.float32("nan"), "float32", None)
    assert check_named(checks, "largest difference").outcome == "failed"  # type: ignore[union-attr]  # is there


def test_constant_outputs_do_not_divide_by_zero() -> None:
    outputs = np.ones((3, 2), np.float32)
    assert all(check.outcome == "passed" for check in agreement_checks(reference(outputs), outputs, "float32", None))
