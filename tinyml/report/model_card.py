"""The model card: README.md of a run directory, in Markdown."""

import re
from typing import Final

from jinja2 import Environment, PackageLoader, StrictUndefined

from tinyml.report.comparison import Cell
from tinyml.report.exits import COLUMNS, exit_cells
from tinyml.report.left_alone import by_reason, modules_text
from tinyml.report.report import Report
from tinyml.report.tables import shape_text
from tinyml.report.usage import usage_snippet

_MARKUP: Final = re.compile(r"[\\`*\[\]|]|<(?=[A-Za-z/!?])")
_TICKS: Final = re.compile("`+")


def render_model_card(report: Report) -> str:
    """Return the card as Markdown text."""
    environment = Environment(  # Markdown, not HTML: the filter `plain` escapes it
        loader=PackageLoader("tinyml.report"),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    environment.filters.update(plain=plain, fenced=fenced)
    template = environment.get_template("model_card.md.jinja")
    return template.render(
        report=report,
        left_alone=by_reason(report.left_alone),
        modules_text=modules_text,
        snippet=usage_snippet(report),
        number=_number,
        change=_change,
        shape_text=shape_text,
        exit_columns=COLUMNS,
        exit_rows=[] if report.exits is None else exit_cells(report.exits),
        pair=len(report.comparison.subjects) == 2,
    )


def plain(content: object) -> str:
    """Return text on one line whose characters mean nothing to Markdown."""
    return _MARKUP.sub(lambda found: f"\\{found[0]}", " ".join(str(content).split()))


def fenced(content: str, language: str = "") -> str:
    """Return a block of code, in a fence longer than any row of backticks inside."""
    longest = max((len(ticks) for ticks in _TICKS.findall(content)), default=0)
    fence = "`" * max(3, longest + 1)
    return f"{fence}{language}\n{content.rstrip()}\n{fence}"


def _number(cell: Cell) -> str:
    """Return a value with its interval and note on one line."""
    interval = f"95 %: {cell.interval}" if cell.interval else ""
    said = ", ".join(part for part in (interval, cell.note) if part)
    return f"{cell.value} ({said})" if said else cell.value


def _change(cell: Cell) -> str:
    """Return a change with its interval on one line."""
    change = cell.change
    return f"{change.text} (95 %: {change.interval})" if change.interval else change.text
