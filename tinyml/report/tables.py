"""Tables for the terminal: before and after, the checks."""

from collections.abc import Sequence
from typing import Final

from rich.table import Table
from rich.text import Text

from tinyml.report.comparison import Cell, Comparison, ComparisonRow
from tinyml.verification.check import Check

_STYLES: Final = {"better": "green", "worse": "yellow", "same": "", "unknown": ""}
_OUTCOMES: Final = {"passed": ("passed", "green"), "failed": ("FAILED", "bold red"), "noted": ("noted", "dim")}


def comparison_table(comparison: Comparison) -> Table:
    """Return the before/after table; with more than two subjects, the change stands below each number."""
    table = Table(box=None, pad_edge=False, header_style="bold")
    table.add_column("metric")
    for subject in comparison.subjects:
        table.add_column(Text(subject), justify="right")
    pair = len(comparison.subjects) == 2
    if pair:
        table.add_column("change")
    for row in comparison.rows:
        cells = [_number(cell, with_change=not pair) for cell in row.cells]
        changes = [_change(row.cells[-1])] if pair else []
        table.add_row(_label(row), *cells, *changes)
    return table


def verification_table(checks: Sequence[Check]) -> Table:
    """Return the checks; the explanation is shown of those that were not passed."""
    table = Table(box=None, pad_edge=False, header_style="bold")
    for heading in ("check", "value", "bound", "outcome", "why"):
        table.add_column(heading)
    for row in checks:
        word, style = _OUTCOMES[row.outcome]
        why = "" if row.outcome == "passed" else row.explanation
        table.add_row(Text(row.name), Text(row.value), Text(row.bound), Text(word, style=style), Text(why))
    return table


def shape_text(shape: Sequence[int]) -> str:
    """Return "16 x 32 x 32"."""
    return " x ".join(str(size) for size in shape)


def _label(row: ComparisonRow) -> Text:
    """Return the metric's name, with what a reader must know of it below."""
    label = Text(row.label)
    if row.estimated:
        label.append(" (estimated)", style="dim")
    for note in row.notes:
        label.append(f"\n{note}", style="dim")
    return label


def _number(cell: Cell, *, with_change: bool) -> Text:
    """Return a value, below it its interval and note, and its change where that has no column of its own."""
    text = Text(cell.value)
    for line in (cell.interval, cell.note):
        text.append(f"\n{line}" if line else "", style="dim")
    if with_change and cell.change.text:
        text.append("\n").append(_change(cell))
    return text


def _change(cell: Cell) -> Text:
    """Return the change, below it its interval."""
    text = Text(cell.change.text, style=_STYLES[cell.change.verdict])
    if cell.change.interval:
        text.append(f"\n{cell.change.interval}", style="dim")
    return text
