"""The before/after table."""

from collections.abc import Callable

import pytest

from tinyml.measure.measurement import Measurement
from tinyml.report.comparison import NOT_MEASURED, Comparison, compare_measurements

Sizes = Callable[[float], dict[str, Measurement]]


def test_the_first_subject_is_what_the_others_are_compared_with(size: Sizes) -> None:
    table = compare_measurements({"a.onnx": size(400), "b.onnx": size(100), "c.onnx": size(200)})
    assert table.subjects == ("a.onnx", "b.onnx", "c.onnx")
    assert [cell.change.text for cell in table.rows[-1].cells] == ["", "4.0x smaller", "2.0x smaller"]


def test_baseline_and_model_are_called_before_and_after(size: Sizes) -> None:
    assert compare_measurements({"baseline": size(1), "model": size(1)}).subjects == ("before", "after")


@pytest.mark.parametrize(
    ("reasons", "expected"),
    [({}, "no data was given"), ({"accuracy": "the task has no test split"}, "no test split")],
    ids=["the usual reason", "a reason given"],
)
def test_accuracy_that_was_not_measured_says_why(size: Sizes, reasons: dict[str, str], expected: str) -> None:
    row = compare_measurements({"baseline": size(1), "model": size(1)}, reasons=reasons).row("accuracy")
    assert row is not None
    assert [cell.value for cell in row.cells] == [NOT_MEASURED] * 2
    assert expected in row.notes[0]


def test_another_score_stands_in_for_accuracy() -> None:
    auc = {"auc": Measurement(metric="auc", value=0.9, unit="share")}
    assert compare_measurements({"baseline": auc, "model": auc}).row("accuracy") is None


def test_a_cell_tells_interval_examples_and_tails() -> None:
    latency = Measurement(
        metric="latency_ms", value=1, unit="ms", interval=(0.9, 1.1), n=1200, details={"p90_ms": 1.5, "p50_ms": 1}
    )
    row = compare_measurements({"model": {"latency_ms": latency}}).row("latency_ms")
    assert row is not None
    assert (row.cells[0].interval, row.cells[0].note) == ("0.900 to 1.10 ms", "n = 1,200, p90 1.50 ms")


def test_what_was_not_counted_and_what_was_estimated_is_said() -> None:
    macs = Measurement(metric="macs", value=10, unit="MACs", not_counted=("Einsum (2 nodes)",), estimated=True)
    row = compare_measurements({"baseline": {"macs": macs}, "model": {"macs": macs}}).row("macs")
    assert row is not None
    assert row.estimated
    assert row.notes == ("not counted: Einsum (2 nodes)",)


def test_a_measured_ratio_has_no_row_of_its_own() -> None:
    measured = {
        "latency_ms": Measurement(metric="latency_ms", value=1, unit="ms"),
        "latency_ratio": Measurement(metric="latency_ratio", value=2, unit="x", interval=(1.9, 2.1)),
    }
    table = compare_measurements({"baseline": measured, "model": measured})
    assert [row.metric for row in table.rows] == ["accuracy", "latency_ms"]
    assert table.rows[1].cells[1].change.text == "2.00x faster"


def test_a_paired_difference_stands_in_the_row_of_the_accuracy(paired: Comparison) -> None:
    (row,) = paired.rows
    assert [cell.note for cell in row.cells] == ["n = 200", "n = 200, 2 gained, 3 lost"]
    assert (row.cells[1].change.text, row.cells[1].change.interval) == ("-0.5 points", "-3.0 to +2.0 points, paired")


def test_metrics_that_are_not_known_come_last_under_their_own_name(size: Sizes) -> None:
    energy = {"energy_used": Measurement(metric="energy_used", value=3, unit="mJ")}
    table = compare_measurements({"model": energy | size(1)})
    assert [row.label for row in table.rows] == ["Accuracy", "File size", "energy used"]
