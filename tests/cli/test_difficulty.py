"""`tinyml difficulty` from the outside, on the digits."""

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click
import numpy as np
import pytest

from tinyml.analysis.difficulty import measure
from tinyml.cli import difficulty as verb
from tinyml.data import load_task
from tinyml.data.selection import read_selection

Run = Callable[..., Any]

OPTIONS = ("--model", "lenet-digits", "--data", "digits", "--calibration", "50")
CARD = """\
version: 1
name: vectors
task: classification
kind: npz
train: train.npz
test: test.npz
classes: 3
"""


def test_the_folder_has_page_numbers_examples_and_files_for_passes(
    tinyml: Run, digits_checkpoint: Path, tmp_path: Path
) -> None:
    output = tmp_path / "run"
    outcome = tinyml("difficulty", digits_checkpoint, *OPTIONS, "-o", output, "--json")
    told = json.loads(outcome.out)
    written = json.loads((output / "difficulty.json").read_text(encoding="utf-8"))
    assert (outcome.code, written.items() <= told.items()) == (0, True)
    page = (output / "report.html").read_text(encoding="utf-8")
    assert page.count("data:image/png;base64,") == 10 * 2 * 6
    with np.load(output / "depths.npz") as arrays:
        rows = [row["n"] for row in told["splits"]["test"]["depths"]]
        assert np.bincount(arrays["test_depth"], minlength=len(rows)).tolist() == rows
    task = load_task("digits")
    assert len(read_selection(output / "calibration.json", task.splits["train"])) == 50
    exits = json.loads((output / "exits.json").read_text(encoding="utf-8"))
    assert exits["places"] == [place["name"] for place in told["exits"]]


def test_the_table_has_a_row_a_depth_and_the_accuracy(tinyml: Run, digits_checkpoint: Path, tmp_path: Path) -> None:
    out = tinyml("difficulty", digits_checkpoint, *OPTIONS, "-o", tmp_path / "run").out
    names = [line.split()[1] for line in out.splitlines() if line[:6].strip().isdigit()]
    assert names == ["(input)", "conv1", "conv2", "linear1", "(output)", "no"]
    assert "n = 400" in out
    assert "Places for exits, the best first, by the depths of validation" in out


def test_c_scores_are_written_with_their_correlation(tinyml: Run, digits_checkpoint: Path, tmp_path: Path) -> None:
    options = ("--images", "200", "--c-score", "2", "--c-score-epochs", "1")
    outcome = tinyml("difficulty", digits_checkpoint, *OPTIONS, *options, "-o", tmp_path / "run")
    with np.load(tmp_path / "run" / "depths.npz") as arrays:
        scores = arrays["train_c_score"]
    assert np.isin(scores[np.isfinite(scores)], [0, 0.5, 1]).all()
    assert f"C-score of {np.isfinite(scores).sum()} examples of train, from 2 trainings of 1 epochs" in outcome.out


def test_ctrl_c_keeps_what_is_known_and_resume_ends_in_the_same_bytes(
    tinyml: Run, digits_checkpoint: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    undisturbed, output = tmp_path / "a", tmp_path / "b"
    tinyml("difficulty", digits_checkpoint, *OPTIONS, "-o", undisturbed)
    original = measure.probed

    def interrupted(*given: Any, **named: Any) -> Any:
        original(*given, **named)
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(measure, "probed", interrupted)
        outcome = tinyml("difficulty", digits_checkpoint, *OPTIONS, "-o", output)
    assert (outcome.code, (output / "difficulty.json").exists()) == (130, False)
    assert "--resume continues" in outcome.err
    changed = tinyml("difficulty", digits_checkpoint, *OPTIONS, "-k", "5", "-o", output, "--resume")
    assert (changed.code, "neighbours was 30, is 5" in changed.err) == (2, True)
    assert tinyml("difficulty", digits_checkpoint, *OPTIONS, "-o", output, "--resume").code == 0
    for name in ("difficulty.json", "depths.npz", "calibration.json", "exits.json"):
        assert (output / name).read_bytes() == (undisturbed / name).read_bytes()


def test_a_finished_run_is_shown_again_without_work(
    tinyml: Run, digits_checkpoint: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    command = ("difficulty", digits_checkpoint, *OPTIONS, "-o", tmp_path / "run", "--json")
    first = tinyml(*command)
    monkeypatch.setattr(verb, "_measure", None)
    assert tinyml(*command, "--resume").out == first.out


@pytest.mark.parametrize(
    ("options", "message"),
    [
        pytest.param(["-k", "1097"], "at most 1,096 are allowed", id="more neighbours than there are"),
        pytest.param(["--layers", "conv9"], "Did you mean 'conv", id="no such layer"),
        pytest.param(["--memory-mb", "1"], "give --memory-mb 2, or --images", id="features beyond memory"),
        pytest.param(["--c-score-epochs", "5"], "is for --c-score N", id="epochs of nothing"),
        pytest.param(["--metric", "manhattan"], "--metric", id="no such metric"),
    ],
)
def test_a_request_that_cannot_work_is_refused_in_one_line(
    tinyml: Run, digits_checkpoint: Path, tmp_path: Path, options: list[str], message: str
) -> None:
    outcome = tinyml("difficulty", digits_checkpoint, *OPTIONS, "-o", tmp_path / "run", *options)
    assert (outcome.code, outcome.err.count("\n"), list(tmp_path.iterdir())) == (2, 1, [])
    assert message in outcome.err


def test_data_without_images_has_no_pictures_and_says_so(tinyml: Run, tmp_path: Path) -> None:
    generator = np.random.default_rng(0)
    for name in ("train", "test"):
        x = generator.standard_normal((60, 8)).astype(np.float32)
        np.savez(tmp_path / f"{name}.npz", x=x, y=np.arange(60) % 3)
    (tmp_path / "card.yaml").write_text(CARD, encoding="utf-8")
    options = ("--model", "torch.nn:Linear", "--model-args", '{"in_features": 8, "out_features": 3}')
    outcome = tinyml("difficulty", "random", *options, "--data", tmp_path / "card.yaml", "-o", tmp_path / "run")
    page = (tmp_path / "run" / "report.html").read_text(encoding="utf-8")
    assert (outcome.code, "data:image" in page) == (0, False)
    assert "No pictures: examples of float32 (8,) are no images" in page
    assert not (tmp_path / "run" / "exits.json").exists()


def test_a_compressed_network_has_depths_too(tinyml: Run, int8_run: Path, tmp_path: Path) -> None:
    outcome = tinyml("difficulty", int8_run, "--data", "digits", "-o", tmp_path / "run", "--json")
    layers = [layer["name"] for layer in json.loads(outcome.out)["layers"]]
    assert (outcome.code, layers[0], layers[-1]) == (0, "(input)", "(output)")


def test_the_guide_names_every_option_of_its_own_with_its_default(project: Path) -> None:
    table = (project / "docs" / "difficulty.md").read_text(encoding="utf-8").partition("| option |")[2]
    options = {name: each for each in verb.command.params for name in each.opts}
    shared = {"model", "model_args", "data", "output", "seed", "threads", "device", "overwrite", "resume", "as_json"}
    rows = {row.split("|")[1]: row.split("|")[2] for row in table.splitlines() if row.startswith("| `--")}
    named = {name for cell in rows for name in re.findall(r"`(-[\w-]+)`", cell)}
    own = {each.name for each in verb.command.params if isinstance(each, click.Option) and each.expose_value} - shared
    assert {options[name].name for name in named} == own
    for cell, default in rows.items():
        given = options[re.findall(r"`(--[\w-]+)`", cell)[0]].default
        assert default.strip().strip("`") in {str(given), "*" if given == ("*",) else "", "all", "none, 30"}
