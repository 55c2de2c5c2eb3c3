import io
import json
import logging
import warnings

import pytest
from rich.console import Console
from rich.progress import BarColumn, TextColumn
from rich.progress import Progress as RichBars

from tinyml.cli.console import (
    RichProgress,
    StatusBars,
    print_json,
    print_table,
    results,
    set_up_logging,
    show_progress,
    without_colour,
)
from tinyml.progress import Silent


def test_json_is_json(capsys: pytest.CaptureFixture[str]) -> None:
    print_json({"name": "süß", "values": [1, None]})
    assert json.loads(capsys.readouterr().out) == {"name": "süß", "values": [1, None]}


def test_json_refuses_what_json_lacks() -> None:
    with pytest.raises(ValueError, match="JSON compliant"):
        print_json({"value": float("nan")})


def test_a_table_shows_every_cell_as_plain_text(capsys: pytest.CaptureFixture[str]) -> None:
    print_table(["layer", "macs"], [["conv[1]", "12"]], right=["macs"])
    assert "conv[1]" in capsys.readouterr().out


def test_a_long_cell_is_whole_in_a_pipe(capsys: pytest.CaptureFixture[str]) -> None:
    print_table(["path"], [["x" * 120]])
    assert "x" * 120 in capsys.readouterr().out


def test_nothing_is_drawn_where_nobody_watches() -> None:
    with show_progress() as progress:
        assert isinstance(progress, Silent)


def test_progress_yields_its_items_and_removes_its_bar() -> None:
    bars = RichBars(console=Console(file=io.StringIO(), force_terminal=True))
    progress = RichProgress(bars)
    assert list(progress.track([1, 2, 3], label="count")) == [1, 2, 3]
    assert bars.tasks == []


def test_status_belongs_to_the_innermost_bar() -> None:
    bars = RichBars(console=Console(file=io.StringIO(), force_terminal=True))
    progress = RichProgress(bars)
    for _ in progress.track([1], label="outer"):
        list(progress.track([1], label="inner"))
        progress.status("loss 0.1")
        assert [(task.description, task.fields["status"], task.total) for task in bars.tasks] == [
            ("outer", "loss 0.1", 1)
        ]


def test_a_continued_work_goes_on_where_it_was() -> None:
    bars = RichBars(console=Console(file=io.StringIO(), force_terminal=True))
    seen = [
        (task.completed, task.total)
        for _ in RichProgress(bars).track([3, 4], label="count", total=5, done=3)
        for task in bars.tasks
    ]
    assert seen == [(3, 5), (4, 5)]


def test_the_time_left_follows_the_watched_steps_only() -> None:
    clock = iter(range(100))  # a second at each look; a step looks once
    bars = RichBars(console=Console(file=io.StringIO(), force_terminal=True), get_time=lambda: next(clock))
    left = [
        task.time_remaining
        for _ in RichProgress(bars).track(range(6), label="count", total=1006, done=1000)
        for task in bars.tasks
    ]
    assert left[2:] == [4, 3, 2, 1]


def test_a_status_stands_whole_below_its_bar_in_80_columns() -> None:
    console = Console(file=io.StringIO(), force_terminal=True, width=80, color_system=None)
    status = "epoch 12/30 · loss 0.601 · validation 99.67% · 16,063 images/s"
    bars = StatusBars(TextColumn("{task.description}"), BarColumn(), console=console)
    for _ in RichProgress(bars).track([1], label="training"):
        bars.update(bars.task_ids[0], status=status)
        console.print(*bars.get_renderables())
    assert f"\n  {status}\n" in console.file.getvalue()  # type: ignore[attr-defined]  # StringIO


def test_no_color_reaches_the_console(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NO_COLOR", "")
    without_colour()
    assert results().no_color


@pytest.mark.parametrize(("level", "said"), [(logging.DEBUG, True), (logging.INFO, False)])
def test_warnings_of_libraries_are_shown_to_the_curious_only(
    capsys: pytest.CaptureFixture[str], level: int, said: bool
) -> None:
    set_up_logging(level)
    with warnings.catch_warnings():
        warnings.simplefilter("always")
        logging.captureWarnings(False)
        logging.captureWarnings(True)
        warnings.warn("old habit", DeprecationWarning, stacklevel=1)
    logging.captureWarnings(False)
    assert ("old habit" in capsys.readouterr().err) is said
