"""`tinyml export`: what it refuses, and that one file is all it writes."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import onnx
import pytest
from exit_models import tiny

from tinyml.export.exits import exit_policy, join_stages, split_stages
from tinyml.runtime.exit_policy import ExitPolicy

Run = Callable[..., Any]


@pytest.fixture
def file(tmp_path: Path) -> Path:
    policy = ExitPolicy(rule="margin", thresholds=(0.25, 0.5), temperatures=(1.0, 2.0))
    onnx.save(join_stages(split_stages(tiny()), policy), tmp_path / "net.onnx")
    return tmp_path / "net.onnx"


def test_a_threshold_is_changed_in_a_copy(tinyml: Run, file: Path) -> None:
    before = file.read_bytes()
    told = tinyml("export", file, "--set-threshold", "1=0.75", "-o", file.with_name("later.onnx"))
    assert (told.code, file.read_bytes()) == (0, before)
    assert exit_policy(onnx.load(file.with_name("later.onnx"))).thresholds == (0.25, 0.75)
    assert "exit 1: leaves from 0.75 (was 0.5)" in told.out


def test_never_is_said_in_words(tinyml: Run, file: Path) -> None:
    told = tinyml("export", file, "--set-threshold", "0=2", "-o", file.with_name("later.onnx"))
    assert "exit 0: nobody leaves (was 0.25)\nexit 1: leaves from 0.5\n" in told.out


def test_json_has_both_policies(tinyml: Run, file: Path) -> None:
    told = tinyml("export", file, "--set-threshold", "0=2", "-o", file.with_name("later.onnx"), "--json")
    result = json.loads(told.out)
    assert (result["before"]["thresholds"], result["after"]["thresholds"]) == ([0.25, 0.5], [2.0, 0.5])


@pytest.mark.parametrize(
    ("given", "message"),
    [
        pytest.param(["0=high"], "'0=high' is no threshold; write the exit and a number, such as 0=0.9", id="a word"),
        pytest.param(["0=-0.1"], "threshold of exit 0: -0.1: margin lies from 0 (leaves always) to 1", id="negative"),
        pytest.param(["0=nan"], "0: nan: margin lies from 0 (leaves always) to 1, and 2 means never", id="nan"),
        pytest.param(["-1=0.5"], "there is no threshold of exit -1: this file has those of exits 0 to 1", id="before"),
        pytest.param(["0="], "'0=' is no threshold; write the exit and a number", id="nothing"),
        pytest.param(["0=1.5"], "threshold of exit 0: 1.5: margin lies from 0", id="out of range"),
        pytest.param(["2=0.5"], "there is no threshold of exit 2: this file has those of exits 0 to 1", id="the end"),
        pytest.param(["0=0.5", "0=0.6"], "names exit 0 twice", id="twice"),
    ],
)
def test_what_means_nothing_is_refused_in_one_line(tinyml: Run, file: Path, given: list[str], message: str) -> None:
    options = [word for each in given for word in ("--set-threshold", each)]
    told = tinyml("export", file, *options, "-o", file.with_name("later.onnx"))
    assert told.code == 2
    assert message in told.err
    assert not file.with_name("later.onnx").exists()


def test_without_a_threshold_there_is_nothing_to_do(tinyml: Run, file: Path) -> None:
    told = tinyml("export", file, "-o", file.with_name("later.onnx"))
    assert told.code == 2
    assert "--set-threshold" in told.err


@pytest.mark.parametrize(
    ("given", "message"),
    [
        pytest.param(["--max-drop-points", "1"], "--max-drop-points and --data go together", id="no data"),
        pytest.param(["--set-threshold", "0=0.5", "--data", "digits"], "go together", id="data for nothing"),
        pytest.param(["--max-drop-points", "101", "--data", "digits"], "0<=x<=100", id="out of range"),
        pytest.param(["--max-drop-points", "1", "--data", "digits"], "is no run directory", id="no stages"),
    ],
)
def test_a_budget_wants_data_and_a_run_directory(tinyml: Run, file: Path, given: list[str], message: str) -> None:
    told = tinyml("export", file, *given, "-o", file.with_name("later.onnx"))
    assert told.code == 2
    assert message in told.err


def test_a_file_without_exits_is_refused(tinyml: Run, int8_run: Path, tmp_path: Path) -> None:
    told = tinyml("export", int8_run, "--set-threshold", "0=0.5", "-o", tmp_path / "later.onnx")
    assert told.code == 2
    assert "is not one with exits" in told.err


def test_an_output_that_exists_is_kept(tinyml: Run, file: Path) -> None:
    (file.parent / "folder").mkdir()
    for output in (file, file.parent / "folder"):
        assert tinyml("export", file, "--set-threshold", "0=0.5", "-o", output).code == 2
    assert exit_policy(onnx.load(file)).thresholds == (0.25, 0.5)


def test_an_output_that_exists_is_refused_before_thresholds_are_chosen(tinyml: Run, file: Path) -> None:
    told = tinyml("export", file, "--max-drop-points", "1", "--data", "no-such-card.yaml", "-o", file)
    assert told.code == 2
    assert "no-such-card" not in told.err


def test_stages_come_from_a_run_directory_alone(tinyml: Run, file: Path) -> None:
    told = tinyml("export", file, "--set-threshold", "0=0.5", "-o", file.parent / "copy")
    assert told.code == 2
    assert "has no stages: give the run directory" in told.err
