"""`tinyml compare` from the outside, on one run; several are in tests/end_to_end."""

import csv
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

Run = Callable[..., Any]


def test_the_tables_have_the_baseline_and_the_run(tinyml: Run, int8_run: Path) -> None:
    outcome = tinyml("compare", int8_run)
    assert outcome.code == 0
    assert outcome.out.count(" 0   baseline ") == 2
    assert all(
        said in outcome.out for said in ("points, paired", "linear", "n = 400", "linear_quantization weight_bits=8")
    )


def test_a_terminal_of_100_columns_is_wide_enough(tinyml: Run, int8_run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "100")
    lines = tinyml("compare", int8_run).out.splitlines()
    assert max(map(len, lines)) <= 100
    assert any("baseline" in line and "KiB" in line for line in lines)


def test_csv_is_a_head_and_a_line(tinyml: Run, int8_run: Path) -> None:
    (row,) = csv.DictReader(tinyml("compare", int8_run, "--csv").out.splitlines())
    metrics = json.loads((int8_run / "metrics.json").read_text())["model"]
    assert float(row["size_bytes"]) == metrics["size_bytes"]["value"]
    assert float(row["points"]) == pytest.approx(100 * metrics["accuracy_difference"]["value"])


def test_json_is_what_the_run_measured(tinyml: Run, int8_run: Path) -> None:
    (group,) = json.loads(tinyml("compare", int8_run, "--json").out)["groups"]
    (row,) = group["runs"]
    accuracy = json.loads((int8_run / "metrics.json").read_text())["model"]["accuracy"]
    assert row["measurements"]["model"]["accuracy"] == accuracy
    assert row["run"] == str(int8_run)


def test_the_page_quotes_the_command(tinyml: Run, int8_run: Path, tmp_path: Path) -> None:
    page = tmp_path / "page.html"
    assert f"Written: {page}" in tinyml("compare", int8_run, "-o", page).out
    text = page.read_text(encoding="utf-8")
    assert f"tinyml compare {int8_run} -o {page}" in text
    assert text.count("<svg") == 2


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        pytest.param([], "Missing argument 'DIR ...'", id="nothing"),
        pytest.param(["none"], "'none' is no finished run directory", id="a missing folder"),
        pytest.param(["{run}", "{run}"], "given twice", id="one run twice"),
        pytest.param(["{run}", "--json", "--csv"], "give one of them", id="two forms"),
        pytest.param(["{run}", "--difficulty", "d"], "--difficulty wants --data", id="difficulty without data"),
        pytest.param(["{run}", "--data", "digits"], "leave it out", id="data for nothing"),
        pytest.param(["{run}", "--difficulty", ".", "--data", "digits"], "holds no depths.npz", id="no depths"),
        pytest.param(["{run}", "-o", "page.pdf"], "must end in .html", id="no page"),
        pytest.param(["{run}", "-o", "note.html"], "exists already", id="a page there"),
        pytest.param(["{run}", "-o", "{run}/page.html"], "lies in a run", id="a page in a run"),
    ],
)
def test_what_cannot_be_done_is_refused_in_one_line(
    tinyml: Run, int8_run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, arguments: list[str], message: str
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("note.html").write_text("a note", encoding="utf-8")
    outcome = tinyml("compare", *(argument.format(run=int8_run) for argument in arguments))
    assert (outcome.code, outcome.err.count("\n"), len(list(tmp_path.iterdir()))) == (2, 1, 1)
    assert message in outcome.err
    assert not (int8_run / "page.html").exists()
