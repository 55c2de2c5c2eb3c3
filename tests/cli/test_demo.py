"""`tinyml demo`: the whole way, and what it refuses before it trains."""

import json
from collections.abc import Callable
from html import unescape
from pathlib import Path
from typing import Any

import pytest

from tinyml import training
from tinyml.manifest import verify_manifest

Run = Callable[..., Any]


@pytest.fixture
def untrained(monkeypatch: pytest.MonkeyPatch) -> None:
    """A test fails where it comes to training."""

    def train(*_: object) -> None:
        pytest.fail("the demo began to train")

    monkeypatch.setattr(training, "train_baseline", train)


@pytest.mark.usefixtures("untrained")
@pytest.mark.parametrize(
    ("options", "message"),
    [
        pytest.param([], "exists", id="an output that exists"),
        pytest.param(["--overwrite"], "is no run directory of tinyml", id="a folder of the user's"),
        pytest.param(["--recipe", "int9"], "Did you mean 'int8'?", id="a misspelt recipe"),
        pytest.param(["--target", "x86-avx"], "Did you mean 'x86-avx2'?", id="a misspelt target"),
        pytest.param(["--target", "cuda"], "no integer convolution", id="a target without integers"),
    ],
)
def test_it_refuses_before_it_trains(tinyml: Run, tmp_path: Path, options: list[str], message: str) -> None:
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.txt").write_text("years of work")
    output = tmp_path / ("new" if "--recipe" in options or "--target" in options else "mine")
    told = tinyml("demo", "-o", output, *options)
    assert (told.code, told.err.count("\n")) == (2, 1)
    assert message in told.err
    assert [path.name for path in tmp_path.rglob("*")] == ["mine", "thesis.txt"]


@pytest.mark.usefixtures("untrained")
def test_it_keeps_a_trained_checkpoint_that_is_there_already(tinyml: Run, tmp_path: Path) -> None:
    (tmp_path / "demo-trained.safetensors").write_bytes(b"precious")
    told = tinyml("demo", "-o", tmp_path / "demo")
    assert (told.code, (tmp_path / "demo-trained.safetensors").read_bytes()) == (2, b"precious")
    assert "demo-trained.safetensors" in told.err


def test_it_goes_the_whole_way_and_can_be_made_again(
    tinyml: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    quick = training.TrainingSettings(epochs=2)
    monkeypatch.setattr(training, "TrainingSettings", lambda: quick)
    output = tmp_path / "my runs" / "demo"
    first = tinyml("demo", "-o", output, "--target", "x86-avx2")
    assert first.code == 0
    assert f"report: {output / 'report.html'}" in first.out.replace("\n", "")
    assert verify_manifest(output) == []
    page = unescape((output / "report.html").read_text(encoding="utf-8"))
    assert f"--data digits --recipe int8 --target x86-avx2 -o '{output}'" in page
    again = tinyml("demo", "-o", output, "--target", "x86-avx2", "--overwrite", "--json")
    assert (again.code, json.loads(again.out)["passed"]) == (0, True)
    assert sorted(path.name for path in output.parent.iterdir()) == ["demo", "demo-trained.safetensors"]


@pytest.mark.slow
def test_it_trains_a_network_that_is_right_on_almost_all_digits(tinyml: Run, tmp_path: Path) -> None:
    told = tinyml("demo", "-o", tmp_path / "demo", "--json")
    accuracy = json.loads(told.out)["measurements"]["model"]["accuracy"]["value"]
    assert told.code == 0
    assert accuracy > 0.96
