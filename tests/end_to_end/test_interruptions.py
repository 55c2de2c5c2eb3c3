"""Ctrl-C and SIGKILL of the real process, two runs in one directory, and going on with --resume."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tinyml.files import is_temporary
from tinyml.manifest import verify_manifest

Run = Callable[..., Any]

SAME = ("recipe.yaml", "architecture.json", "model.safetensors", "model.onnx", "reference.npz", "baseline/model.onnx")
PATIENCE_S = 120
FIRST_STEP_DONE = ".work/steps/pass-00-linear_quantization"


@pytest.fixture
def arguments(digits_checkpoint: Path, tmp_path: Path) -> list[str]:
    """The command that made `int8_run`, with another output."""
    own = ["--model", "lenet-digits", "--data", "digits", "--recipe", "int8", "--target", "x86-avx2"]
    return ["compress", str(digits_checkpoint), *own, "-o", str(tmp_path / "run")]


@pytest.fixture
def start(arguments: list[str], tmp_path: Path) -> Iterator[Callable[[str], subprocess.Popen[str]]]:
    """Return a function that starts the command and comes back when the run directory holds this file."""
    processes: list[subprocess.Popen[str]] = []

    def start_until(name: str) -> subprocess.Popen[str]:
        command = [sys.executable, "-m", "tinyml", *arguments]
        process = subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=dict(os.environ)
        )
        processes.append(process)
        end = time.monotonic() + PATIENCE_S
        while not (tmp_path / "run" / name).exists():
            assert process.poll() is None, process.communicate()[1]
            assert time.monotonic() < end
            time.sleep(0.005)
        return process

    yield start_until
    for process in processes:
        process.kill()
        process.communicate()


def events(run: Path) -> list[str]:
    return [json.loads(line)["event"] for line in (run / "history.jsonl").read_text().splitlines()]


def assert_undisturbed(run: Path, undisturbed: Path) -> None:
    assert [name for name in SAME if (run / name).read_bytes() != (undisturbed / name).read_bytes()] == []
    assert events(run) == events(undisturbed)
    assert verify_manifest(run) == []
    assert not (run / ".work").exists()


def test_ctrl_c_ends_with_130_and_the_run_goes_on_later(
    tinyml: Run, start: Callable[[str], Any], arguments: list[str], int8_run: Path, tmp_path: Path
) -> None:
    process = start(FIRST_STEP_DONE)
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=PATIENCE_S)
    assert (process.returncode, out) == (130, "")
    assert [line for line in err.splitlines() if line] == [
        "The same command with --resume continues this run.", "Interrupted.",
    ]  # fmt: skip
    assert not (tmp_path / "run" / "manifest.json").exists()
    assert not [path for path in tmp_path.rglob("*") if is_temporary(path)]
    assert tinyml(*arguments, "--resume").code == 0
    assert_undisturbed(tmp_path / "run", int8_run)


def test_ctrl_c_before_the_first_step_leaves_nothing(start: Callable[[str], Any], tmp_path: Path) -> None:
    process = start(".work/journal.json")
    time.sleep(0.2)  # the baseline is being exported, which takes seconds
    process.send_signal(signal.SIGINT)
    assert process.wait(timeout=PATIENCE_S) == 130
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    "moment",
    [
        pytest.param(".work/journal.json", id="while the baseline is exported", marks=pytest.mark.slow),
        pytest.param("model.safetensors", id="while the result is written"),
        pytest.param("metrics.json", id="after it was measured", marks=pytest.mark.slow),
    ],
)
def test_a_killed_run_is_resumed_to_the_same_bytes(
    tinyml: Run, start: Callable[[str], Any], arguments: list[str], int8_run: Path, tmp_path: Path, moment: str
) -> None:
    process = start(moment)
    process.kill()
    process.communicate()
    assert not (tmp_path / "run" / "manifest.json").exists()
    resumed = tinyml(*arguments, "--resume")
    assert (resumed.code, resumed.err) == (0, "")
    assert_undisturbed(tmp_path / "run", int8_run)


def test_a_killed_run_is_not_taken_for_a_finished_one(
    tinyml: Run, start: Callable[[str], Any], arguments: list[str], tmp_path: Path
) -> None:
    process = start(FIRST_STEP_DONE)
    second = tinyml(*arguments, "--resume")
    process.kill()
    process.communicate()
    assert (second.code, second.err.count("\n")) == (2, 1)
    assert "is in use by process" in second.err
    again, verified = tinyml(*arguments), tinyml("verify", tmp_path / "run")
    continued = tinyml(
        "compress", tmp_path / "run", "--data", "digits", "--recipe", "baseline", "-o", tmp_path / "next"
    )
    assert (again.code, verified.code, continued.code) == (2, 2, 2)
    assert "--resume to go on" in again.err
    assert "no finished run directory" in verified.err
    assert not (tmp_path / "next").exists()


def test_resuming_what_is_finished_changes_nothing(tinyml: Run, digits_checkpoint: Path, int8_run: Path) -> None:
    own = ("--model", "lenet-digits", "--data", "digits", "--recipe", "int8", "--target", "x86-avx2")
    before = {path: path.stat().st_mtime_ns for path in int8_run.rglob("*")}
    assert tinyml("compress", digits_checkpoint, *own, "-o", int8_run, "--resume").code == 0
    assert {path: path.stat().st_mtime_ns for path in int8_run.rglob("*")} == before


def test_another_job_does_not_go_on_with_this_run(
    tinyml: Run, start: Callable[[str], Any], arguments: list[str], tmp_path: Path
) -> None:
    process = start(FIRST_STEP_DONE)
    process.kill()
    process.communicate()
    told = tinyml(*arguments, "--resume", "--seed", "1")
    assert (told.code, told.err.count("\n")) == (2, 1)
    assert "seed was 0, is 1" in told.err
