"""`tinyml train` from the outside, on the digits."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tinyml import training
from tinyml.checkpoint import load_into, read_state
from tinyml.data import load_task
from tinyml.models import create_model
from tinyml.training import Position, evaluate

Run = Callable[..., Any]

QUICK = ("--model", "lenet-digits", "--data", "digits", "--epochs", "2", "--threads", "1")


def kill_at(monkeypatch: pytest.MonkeyPatch, step: int) -> None:
    """Make Ctrl-C arrive after a step of the next training."""
    original = training.train

    def interrupt(_: object, position: Position) -> None:
        if position.step == step:
            raise KeyboardInterrupt

    def interrupted(*arguments: Any, **options: Any) -> object:
        return original(*arguments, **options, on_step=[interrupt])

    monkeypatch.setattr(training, "train", interrupted)


def test_the_file_has_the_weights_that_the_table_speaks_of(tinyml: Run, tmp_path: Path) -> None:
    output = tmp_path / "lenet-\u00fc.safetensors"
    outcome = tinyml("train", *QUICK, "-o", output, "--json")
    result = json.loads(outcome.out)
    module, task = create_model("lenet-digits"), load_task("digits")
    load_into(module, read_state(output), source=output)
    assert outcome.code == 0
    assert result["scores"][1]["score"] == evaluate(module, task, task.test).score  # type: ignore[arg-type]  # is there
    assert [path.name for path in tmp_path.iterdir()] == [output.name]


def test_the_table_has_the_test_score_with_its_interval_and_n(tinyml: Run, tmp_path: Path) -> None:
    out = tinyml("train", *QUICK, "-o", tmp_path / "lenet.safetensors").out
    line = next(line for line in out.splitlines() if line.strip().startswith("test"))
    assert " to " in line
    assert "400" in line


def test_the_same_command_gives_the_same_bytes(tinyml: Run, tmp_path: Path) -> None:
    first, second = tmp_path / "a.safetensors", tmp_path / "b.safetensors"
    tinyml("train", *QUICK, "-o", first)
    tinyml("train", *QUICK, "-o", second)
    assert first.read_bytes() == second.read_bytes()


def test_another_precision_gives_other_weights_and_is_told_by_the_file(tinyml: Run, tmp_path: Path) -> None:
    plain, half = tmp_path / "plain.safetensors", tmp_path / "half.safetensors"
    tinyml("train", *QUICK, "-o", plain)
    assert tinyml("train", *QUICK, "-o", half, "--precision", "bfloat16").code == 0
    assert plain.read_bytes() != half.read_bytes()
    assert b"bfloat16" in half.read_bytes()


def test_verbose_says_a_line_per_epoch(tinyml: Run, tmp_path: Path) -> None:
    err = tinyml("train", *QUICK, "-o", tmp_path / "lenet.safetensors", "-v").err
    assert "epoch 1/2: loss" in err
    assert "epoch 2/2: loss" in err


def test_ctrl_c_leaves_no_output_and_resume_ends_in_the_same_bytes(
    tinyml: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    undisturbed, output = tmp_path / "a.safetensors", tmp_path / "b.safetensors"
    tinyml("train", *QUICK, "-o", undisturbed)
    with monkeypatch.context() as patch:
        kill_at(patch, 20)
        outcome = tinyml("train", *QUICK, "-o", output)
    assert (outcome.code, output.exists()) == (130, False)
    assert "--resume continues" in outcome.err
    assert tinyml("train", *QUICK, "-o", output, "--resume").code == 0
    assert output.read_bytes() == undisturbed.read_bytes()
    assert len(list(tmp_path.iterdir())) == 2


def test_an_interrupted_training_is_not_forgotten_by_accident(
    tinyml: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    output = tmp_path / "lenet.safetensors"
    with monkeypatch.context() as patch:
        kill_at(patch, 20)
        tinyml("train", *QUICK, "-o", output)
    refused = tinyml("train", *QUICK, "-o", output)
    changed = tinyml("train", *QUICK, "-o", output, "--resume", "--seed", "1")
    assert (refused.code, changed.code) == (2, 2)
    assert "--resume, or start anew with --overwrite" in refused.err
    assert "setting seed was 0, is 1" in changed.err
    assert tinyml("train", *QUICK, "-o", output, "--overwrite").code == 0


def test_an_existing_output_is_kept_without_overwrite(tinyml: Run, tmp_path: Path) -> None:
    output = tmp_path / "lenet.safetensors"
    output.write_bytes(b"precious")
    outcome = tinyml("train", *QUICK, "-o", output)
    assert (outcome.code, output.read_bytes()) == (2, b"precious")
    assert tinyml("train", *QUICK, "-o", output, "--overwrite").code == 0


@pytest.mark.parametrize(
    ("options", "message"),
    [
        pytest.param(["-o", "lenet.pt"], "must end in .safetensors", id="another format"),
        pytest.param(["-o", "missing/lenet.safetensors"], "does not exist", id="a folder that is missing"),
        pytest.param(["--epochs", "0"], "epochs is 0", id="no epochs"),
        pytest.param(["--batch-size", "2000"], "at most 1097 is allowed", id="a batch larger than the set"),
        pytest.param(["--model", "lenet-digit"], "Did you mean 'lenet-digits'", id="a misspelt model"),
        pytest.param(["--model-args", '{"classes": 4}'], "4 outputs", id="other classes"),
        pytest.param(["--model", "resnet20-cifar"], "does not take the inputs (1, 8, 8)", id="other inputs"),
        pytest.param(["--data", "digit"], "digits", id="misspelt data"),
        pytest.param(["--device", "cuda:99"], "no device 'cuda:99'", id="a device that is not there"),
    ],
)
def test_a_request_that_cannot_work_is_refused_in_one_line(
    tinyml: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, options: list[str], message: str
) -> None:
    monkeypatch.chdir(tmp_path)
    outcome = tinyml("train", *QUICK, "-o", "lenet.safetensors", *options)
    assert (outcome.code, outcome.err.count("\n"), list(tmp_path.iterdir())) == (2, 1, [])
    assert message in outcome.err


def test_a_diverging_training_keeps_its_best_epoch_and_fails(
    tinyml: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    output = tmp_path / "lenet.safetensors"
    original = training.train

    def spoilt(module: Any, *arguments: Any, **options: Any) -> object:
        def spoil(own: Any, position: Position) -> None:
            if position.step == 20:
                own.linear2.bias.data.fill_(float("nan"))

        return original(module, *arguments, **options, on_step=[spoil])

    monkeypatch.setattr(training, "train", spoilt)
    outcome = tinyml("train", *QUICK, "-o", output)
    assert (outcome.code, [path.name for path in tmp_path.iterdir()]) == (1, [output.name])
    assert "weights of epoch 1 are in" in outcome.err
    assert "Lower learning_rate" in outcome.err


@pytest.mark.slow
def test_a_real_ctrl_c_ends_with_130_and_no_output(tmp_path: Path) -> None:
    output = tmp_path / "lenet.safetensors"
    command = [sys.executable, "-m", "tinyml", "train", *QUICK, "-v", "--epochs", "5000", "-o", str(output)]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True, env=dict(os.environ)) as process:
        assert process.stderr is not None
        while "epoch 2/" not in process.stderr.readline():
            assert process.poll() is None
        process.send_signal(signal.SIGINT)
        rest = process.stderr.read()
    assert (process.returncode, output.exists()) == (130, False)
    assert "--resume continues" in rest
