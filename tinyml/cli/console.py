"""What the terminal shows: results on stdout; progress, notes and errors on stderr."""

import json
import logging
import os
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence, Sized
from contextlib import contextmanager
from typing import TypeVar

import click
from rich import box
from rich.console import Console, RenderableType
from rich.progress import BarColumn, MofNCompleteColumn, TaskID, TextColumn, TimeRemainingColumn
from rich.progress import Progress as RichBars
from rich.table import Table
from rich.text import Text

from tinyml.progress import Progress, Silent
from tinyml.torchrun import launch

Item = TypeVar("Item")

UNWATCHED_WIDTH = 160  # columns of a table that goes into a file or a pipe
SPEED_WINDOW_S = 300.0  # the time left follows the speed of so long: an epoch's validation belongs to it


def results() -> Console:
    """Return the console for results, on stdout."""
    return _console(stderr=False)


def messages() -> Console:
    """Return the console for everything else, on stderr."""
    return _console(stderr=True)


def print_json(value: Mapping[str, object] | Sequence[object]) -> None:
    """Print the value as JSON on stdout; letters that the stream's encoding lacks are escaped."""
    encoding = (getattr(sys.stdout, "encoding", None) or "ascii").lower()
    click.echo(json.dumps(value, indent=2, ensure_ascii=not encoding.startswith("utf"), allow_nan=False))


def print_table(
    columns: Sequence[str], rows: Iterable[Sequence[str]], *, title: str = "", right: Sequence[str] = ()
) -> None:
    """Print a table on stdout; the columns named in `right` (numbers) are aligned right. Cells are plain text."""
    table = Table(title=title or None, title_justify="left", box=box.SIMPLE_HEAD, pad_edge=False)
    for column in columns:
        table.add_column(column, justify="right" if column in right else "left", overflow="fold")
    for row in rows:
        table.add_row(*(Text(cell) for cell in row))
    results().print(table)


class RichProgress:
    """Progress drawn as bars on stderr."""

    def __init__(self, bars: RichBars) -> None:
        self._bars = bars
        self._task: TaskID | None = None

    def track(self, items: Iterable[Item], *, label: str, total: int | None = None, done: int = 0) -> Iterator[Item]:
        """Yield the items, a step of the bar each; the bar goes when they end.

        The time left is reckoned from the steps that were watched, not from those done before.
        """
        outer, length = self._task, done + len(items) if total is None and isinstance(items, Sized) else total
        task = self._bars.add_task(label, total=length, completed=done, status="")
        self._task = task
        try:
            for item in items:
                yield item
                self._bars.advance(task)
        finally:
            self._bars.remove_task(task)
            self._task = outer

    def status(self, text: str) -> None:
        """Show the text under the bars, as that of the innermost one."""
        if self._task is not None:
            self._bars.update(self._task, status=text)


class StatusBars(RichBars):
    """Bars with a line below them for each status: beside a bar, it would not fit into 80 columns."""

    def get_renderables(self) -> Iterable[RenderableType]:
        """Yield the bars, then what is said of their tasks; rich asks for this at every refresh."""
        yield self.make_tasks_table(self.tasks)
        for task in self.tasks:
            if task.fields["status"]:
                yield Text(f"  {task.fields['status']}", no_wrap=True, overflow="ellipsis")


@contextmanager
def show_progress() -> Iterator[Progress]:
    """Give a Progress that draws on stderr; a silent one where that is no terminal or -q was given."""
    console = messages()
    if console.quiet or not console.is_terminal or not logging.getLogger("tinyml").isEnabledFor(logging.WARNING):
        yield Silent()
        return
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
        TextColumn("left"),
    )
    with StatusBars(*columns, console=console, transient=True, speed_estimate_period=SPEED_WINDOW_S) as bars:
        yield RichProgress(bars)


class EchoHandler(logging.Handler):
    """Writes log lines to whatever stderr is at that moment (a live progress bar takes its place)."""

    def emit(self, record: logging.LogRecord) -> None:
        """Write one line; of several processes only the first one does."""
        if not launch().leads:
            return
        try:
            click.echo(f"{record.levelname.capitalize()}: {record.getMessage()}", err=True)
        except OSError:
            self.handleError(record)


def set_up_logging(level: int) -> None:
    """Show tinyml's log lines of this level and above on stderr; Python's warnings only with the lowest level."""
    logging.captureWarnings(True)
    for name, shown in {"tinyml": level, "py.warnings": logging.ERROR if level > logging.DEBUG else level}.items():
        logger = logging.getLogger(name)
        logger.setLevel(shown)
        if not any(isinstance(handler, EchoHandler) for handler in logger.handlers):
            logger.addHandler(EchoHandler())


def without_colour() -> None:
    """Print without colour from here on, in child processes too."""
    os.environ["NO_COLOR"] = "1"


def _console(*, stderr: bool) -> Console:
    console = Console(stderr=stderr, highlight=False, soft_wrap=False, quiet=not launch().leads)
    if not console.is_terminal and "COLUMNS" not in os.environ:
        console.width = UNWATCHED_WIDTH
    return console
