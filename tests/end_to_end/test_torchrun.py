"""The real command in two processes: one run directory, one voice, and going on after a kill."""

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from safetensors import safe_open

from tinyml.manifest import verify_manifest

Run = Callable[..., Any]

TORCHRUN = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2", "-m", "tinyml"]
PATIENCE_S = 200
SAME = ("recipe.yaml", "architecture.json", "model.safetensors", "model.onnx", "reference.npz", "baseline/model.onnx")


def torchrun(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    command = [*TORCHRUN, *(str(argument) for argument in arguments)]
    return subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE_S, check=False)


def own_lines(text: str) -> list[str]:
    """The lines of stderr that are not torchrun's."""
    return [line for line in text.splitlines() if line.startswith(("Error", "Warning", "Interrupted"))]


def compress_arguments(checkpoint: Path, output: Path) -> list[str]:
    own = ["--model", "lenet-digits", "--data", "digits", "--recipe", "finetune", "--target", "cpu"]
    return ["compress", str(checkpoint), *own, "--set", "passes.0.epochs=8", "-o", str(output)]


@pytest.fixture(scope="session")
def tuned_by_two(once: Callable[..., Path], digits_checkpoint: Path) -> Path:
    """A run directory that two processes made, with what they said beside it."""

    def work(folder: Path) -> None:
        done = torchrun(*compress_arguments(digits_checkpoint, folder / "run"))
        assert done.returncode == 0, done.stderr
        (folder / "said.txt").write_text(done.stdout)

    return once("tuned-by-two", work) / "run"


@pytest.fixture
def start() -> Iterator[Callable[[list[str]], list[subprocess.Popen[str]]]]:
    """Return a function that starts two processes of a command without torchrun, which would end the other one."""
    started: list[subprocess.Popen[str]] = []

    def start_two(arguments: list[str]) -> list[subprocess.Popen[str]]:
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            place = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(free.getsockname()[1])}
        for rank in "01":
            own = {"RANK": rank, "LOCAL_RANK": rank, "WORLD_SIZE": "2", "LOCAL_WORLD_SIZE": "2"}
            started.append(
                subprocess.Popen(
                    [sys.executable, "-m", "tinyml", *arguments],
                    env={**os.environ, **place, **own},
                    stdout=subprocess.PIPE,
                    stderr=subprocess.PIPE,
                    text=True,
                )
            )
        return started

    yield start_two
    for process in started:
        process.kill()
        process.communicate()


def epochs_in(run: Path) -> int:
    history = run / "history.jsonl"
    lines = history.read_text().splitlines() if history.exists() else []
    return sum('"event": "epoch"' in line for line in lines)


@pytest.mark.slow
def test_two_processes_make_one_sealed_run_and_speak_once(tuned_by_two: Path) -> None:
    said = (tuned_by_two.parent / "said.txt").read_text()
    assert verify_manifest(tuned_by_two) == []
    assert (said.count("model: "), said.count("report: ")) == (1, 1)
    assert epochs_in(tuned_by_two) == 8
    assert sorted(path.name for path in tuned_by_two.parent.iterdir()) == ["run", "said.txt"]


@pytest.mark.slow
@pytest.mark.parametrize("victim", [0, 1])
def test_after_a_kill_resume_ends_in_the_same_bytes(
    start: Callable[[list[str]], list[subprocess.Popen[str]]],
    digits_checkpoint: Path,
    tuned_by_two: Path,
    tmp_path: Path,
    victim: int,
) -> None:
    arguments, run = compress_arguments(digits_checkpoint, tmp_path / "run"), tmp_path / "run"
    processes = start(arguments)
    end = time.monotonic() + PATIENCE_S
    while epochs_in(run) < 2:
        assert time.monotonic() < end
        time.sleep(0.005)
    processes[victim].send_signal(signal.SIGKILL)
    other = processes[1 - victim]
    out, err = other.communicate(timeout=PATIENCE_S)
    assert (other.returncode, out) == (1, "")
    ended = [line for line in own_lines(err) if "another process of the run ended" in line and "--resume" in line]
    assert len(ended) == victim  # the first process says it; where that one is gone, torchrun does
    assert (run / "manifest.json").exists() is False
    resumed = torchrun(*arguments, "--resume")
    assert resumed.returncode == 0, resumed.stderr
    assert [name for name in SAME if (run / name).read_bytes() != (tuned_by_two / name).read_bytes()] == []
    assert epochs_in(run) == 8


@pytest.mark.slow
def test_a_baseline_is_trained_by_two_and_written_once(tmp_path: Path) -> None:
    out = tmp_path / "net.safetensors"
    done = torchrun("train", "--model", "lenet-digits", "--data", "digits", "--epochs", "2", "--json", "-o", out)
    assert (done.returncode, json.loads(done.stdout)["best_epoch"]) == (0, 2)
    assert list(tmp_path.iterdir()) == [out]
    with safe_open(out, "pt") as file:
        assert file.metadata()["processes"] == "2"


@pytest.mark.slow
@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        pytest.param(["compress", "absent.pt", "--model", "lenet-digits", "--recipe", "baseline"], "absent.pt", id="a missing checkpoint"),
        pytest.param(["train", "--model", "lenet-digits", "--data", "digits", "--batch-size", "600"],
                     "batch_size is 600 in each of 2 processes", id="a batch too large"),
    ],
)  # fmt: skip
def test_what_all_processes_refuse_is_said_once(arguments: list[str], said: str, tmp_path: Path) -> None:
    refused = torchrun(*arguments, "-o", tmp_path / "out.safetensors")
    lines = own_lines(refused.stderr)
    assert (len(lines), refused.stdout, list(tmp_path.iterdir())) == (1, "", [])
    assert said in lines[0]


def test_a_verb_for_one_process_is_refused_by_several(tinyml: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WORLD_SIZE", "2")
    monkeypatch.setenv("RANK", "0")
    monkeypatch.setenv("TORCH_CPP_LOG_LEVEL", "FATAL")
    first = tinyml("models")
    monkeypatch.setenv("RANK", "1")
    second = tinyml("models")
    assert (first.code, first.err.count("\n"), first.out) == (2, 1, "")
    assert "2 processes were started, and 'models' is for one: start it without torchrun" in first.err
    assert (second.code, second.err, second.out) == (2, "", "")
