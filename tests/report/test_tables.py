"""Tables as a terminal shows them."""

from collections.abc import Callable
from io import StringIO

from rich.console import Console
from rich.table import Table

from tinyml.measure.measurement import Measurement
from tinyml.report.comparison import compare_measurements
from tinyml.report.tables import comparison_table, verification_table
from tinyml.verification.check import Check

Sizes = Callable[[float], dict[str, Measurement]]


def shown(table: Table) -> str:
    console = Console(file=StringIO(), width=120)
    with console.capture() as capture:
        console.print(table)
    return capture.get()


def test_two_subjects_have_a_column_for_the_change(size: Sizes) -> None:
    text = shown(comparison_table(compare_measurements({"baseline": size(4096), "model": size(1024)})))
    line = next(line for line in text.splitlines() if line.startswith("File size"))
    assert line.split() == ["File", "size", "4.00", "KiB", "1.00", "KiB", "4.0x", "smaller"]


def test_more_subjects_have_the_change_below_the_number(size: Sizes) -> None:
    text = shown(comparison_table(compare_measurements({"a": size(4), "b": size(2), "c": size(1)})))
    assert text.splitlines()[-1].split() == ["2.0x", "smaller", "4.0x", "smaller"]


def test_a_name_in_brackets_is_not_taken_for_markup(size: Sizes) -> None:
    assert "[red]a.onnx" in shown(comparison_table(compare_measurements({"[red]a.onnx": size(1)})))


def test_only_checks_that_were_not_passed_are_explained() -> None:
    rows = [
        Check(name="a", value="1", bound="1", outcome="passed", explanation="fine"),
        Check(name="b", value="2", bound="1", outcome="failed", explanation="broken"),
    ]
    text = shown(verification_table(rows))
    assert "fine" not in text
    assert "FAILED   broken" in text


def test_every_column_of_the_checks_has_a_head() -> None:
    head = shown(verification_table([Check(name="a", value="1", bound="1", outcome="passed")])).splitlines()[0]
    assert head.split() == ["check", "value", "bound", "outcome", "why"]
