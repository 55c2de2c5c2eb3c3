"""What `tinyml difficulty` finds is used: images to calibrate on, places for exits; and its speed on development data."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tinyml.analysis.difficulty.c_score import CScoreSettings
from tinyml.analysis.difficulty.measure import Request, Work
from tinyml.analysis.difficulty.probes import ProbeSettings
from tinyml.architecture import Architecture
from tinyml.cli import main
from tinyml.data import load_task
from tinyml.passes import Compressed
from tinyml.progress import Silent
from tinyml.training import TrainingSettings, fresh_module, train

pytestmark = pytest.mark.slow

Run = Callable[..., Any]

DIGITS = ("--model", "lenet-digits", "--data", "digits")
EXITS = """\
version: 1
name: exits
passes:
  - early_exit: {{exits: 1, places: {file}}}
  - fine_tuning: {{epochs: 1}}
"""


@pytest.fixture(scope="module")
def found(once: Callable[..., Path], digits_checkpoint: Path) -> Path:
    """The folder of a finished run on the digits."""
    options = [str(digits_checkpoint), *DIGITS, "-q", "-o"]
    return once("difficulty", lambda path: main(["difficulty", *options, str(path)]))


def test_int8_is_calibrated_on_the_images_that_it_names(
    tinyml: Run, found: Path, digits_checkpoint: Path, tmp_path: Path
) -> None:
    own = ("--set", f"passes.0.calibration.indices={found / 'calibration.json'}")
    outcome = tinyml("compress", digits_checkpoint, *DIGITS, "--recipe", "int8", *own, "-o", tmp_path / "run")
    assert outcome.code == 0
    manifest = (tmp_path / "run" / "manifest.json").read_text(encoding="utf-8")
    assert f"file '{found / 'calibration.json'}'" in manifest


def test_images_of_other_data_are_refused_before_any_work(
    tinyml: Run, found: Path, digits_checkpoint: Path, patches_card: Path, tmp_path: Path
) -> None:
    own = ("--set", f"passes.0.calibration.indices={found / 'calibration.json'}")
    options = ("--model", "resnet20-cifar", "--data", patches_card, "--recipe", "int8")
    outcome = tinyml("compress", "random", *options, *own, "-o", tmp_path / "run")
    assert (outcome.code, list(tmp_path.iterdir())) == (2, [])
    assert "run `tinyml difficulty` on this data" in outcome.err


def test_exits_are_attached_where_it_suggests(
    tinyml: Run, found: Path, digits_checkpoint: Path, tmp_path: Path
) -> None:
    (tmp_path / "exits.yaml").write_text(EXITS.format(file=found / "exits.json"), encoding="utf-8")
    options = (*DIGITS, "--recipe", tmp_path / "exits.yaml", "-o", tmp_path / "run")
    assert tinyml("compress", digits_checkpoint, *options).code in (0, 3)
    history = [json.loads(line) for line in (tmp_path / "run" / "history.jsonl").read_text().splitlines()]
    places = next(event["exits"] for event in history if event["event"] == "exits")
    best = json.loads((found / "exits.json").read_text(encoding="utf-8"))["places"][0]
    assert [each["place"] for each in places] == [best]


def test_what_is_often_wrong_when_left_out_is_deep() -> None:
    module = fresh_module("lenet-digits", {}, seed=0)
    model = Compressed(module=module, architecture=Architecture(model="lenet-digits", input_shape=(1, 8, 8)))
    task = load_task("digits")
    settings, scores = ProbeSettings(neighbours=10), CScoreSettings(runs=6, epochs=4)
    train(module, task, TrainingSettings(epochs=4))
    request = Request(model=model, task=task, settings=settings, c_score=scores)
    summary = Work(request).measure(store=None, c_store=None, progress=Silent()).summary
    assert summary.c_score is not None
    assert summary.c_score.rank_correlation is not None
    assert summary.c_score.rank_correlation < -0.15


def test_accuracy_falls_with_depth_on_development_data(tinyml: Run, shared: Path, tmp_path: Path) -> None:
    data = shared / "data"
    options = ("--model", "resnet20-cifar", "--data", data / "cifar10-jpeg.yaml", "--images", "2000")
    outcome = tinyml("difficulty", data / "resnet20-cifar10-jpeg.pt", *options, "-o", tmp_path / "run", "--json")
    rows = json.loads(outcome.out)["splits"]["test"]["depths"]
    with np.load(tmp_path / "run" / "depths.npz") as arrays:
        depths, right = arrays["test_depth"], arrays["test_label"] == arrays["test_prediction"]
    shallow, deep = right[depths < np.median(depths)], right[depths > np.median(depths)]
    assert outcome.code == 0
    assert sum(row["n"] for row in rows) == len(depths) == 5000
    assert shallow.mean() > deep.mean() + 0.05  # six standard errors
