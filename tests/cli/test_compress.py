"""`tinyml compress`: gates, forced settings, options."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tinyml.data import load_task
from tinyml.manifest import read_manifest, verify_manifest
from tinyml.recipe import load_recipe

Run = Callable[..., Any]

ON_DIGITS = ("--model", "lenet-digits", "--data", "digits")
FULL_RANGE = ("--recipe", "int8", "--target", "x86-avx2", "--set", "passes.0.weight_range=full")


def test_full_8_bit_weights_forced_where_they_saturate_are_refused_as_portable_with_their_loss(
    tinyml: Run, digits_checkpoint: Path, tmp_path: Path
) -> None:
    run = tmp_path / "run"
    told = tinyml("compress", digits_checkpoint, *ON_DIGITS, *FULL_RANGE, "-o", run, "--json")
    result = json.loads(told.out)
    checks = {check["name"]: check for check in result["checks"]}
    bound, emulated = checks["int8 is right on every CPU"], checks["on x86 without VNNI (emulated)"]
    exact, saturated = (float(word.strip("(%)")) for word in emulated["value"].split() if "%" in word)
    assert (told.code, result["passed"], told.err.count("\n")) == (3, False, 1)
    assert "int8 is right on every CPU: |w_i| + |w_j| up to 254" in told.err
    assert (bound["outcome"], "Refused as portable" in bound["explanation"]) == ("failed", True)
    assert float(emulated["value"].split()[0]) == pytest.approx(saturated - exact, abs=0.011)
    assert saturated < exact
    page = (run / "report.html").read_text(encoding="utf-8")
    assert "Refused as portable" in page
    assert emulated["value"] in page
    assert verify_manifest(run) == []
    again = tinyml("verify", run, "--data", "digits")
    assert (again.code, "int8 is right on every CPU" in again.err) == (3, True)


@pytest.fixture
def dim_card(tmp_path: Path) -> Path:
    """The digits, but what ranges are calibrated on is almost black: int8 then clips most of every test image."""
    task = load_task("digits")
    train, test = task.train, task.test
    assert train is not None
    assert test is not None
    np.savez(tmp_path / "train.npz", x=train.x // 16, y=train.y)
    np.savez(tmp_path / "test.npz", x=test.x, y=test.y)
    card = "version: 1\nname: dim\ntask: classification\nkind: npz\ntrain: train.npz\ntest: test.npz\nclasses: 10\n"
    (tmp_path / "card.yaml").write_text(f"{card}mean: {list(task.mean)}\nstd: {list(task.std)}\n", encoding="utf-8")
    return tmp_path / "card.yaml"


def test_a_missed_accuracy_budget_keeps_the_run_and_says_so(
    tinyml: Run, digits_checkpoint: Path, dim_card: Path, tmp_path: Path
) -> None:
    run = tmp_path / "run"
    own = ("--model", "lenet-digits", "--data", dim_card, "--recipe", "int8", "--set", "gates.max_drop_points=1")
    told = tinyml("compress", digits_checkpoint, *own, "-o", run)
    assert (told.code, told.err.count("\n")) == (3, 1)
    assert "accuracy budget" in told.err
    assert f"The run is kept in '{run}'" in told.err
    assert "gate missed" in (run / "history.jsonl").read_text()
    assert verify_manifest(run) == []
    again = tinyml("verify", run)
    assert (again.code, "accuracy budget" in again.err) == (3, True)
    resumed = tinyml("compress", digits_checkpoint, *own, "-o", run, "--resume")
    assert (resumed.code, resumed.err) == (3, told.err)


def test_random_weights_say_that_their_accuracy_means_nothing(tinyml: Run, tmp_path: Path) -> None:
    own = ("--model", "lenet-digits", "--recipe", "baseline", "-o", tmp_path / "run")
    told = tinyml("compress", "random", *own, "--dry-run")
    assert "the accuracy means nothing" in told.out


@pytest.mark.parametrize("recipe", ["int8", "fp16"])
@pytest.mark.parametrize("more", [(), ("--dry-run",)])
def test_a_pass_that_must_not_follow_the_run_directory_is_refused_in_one_line(
    tinyml: Run, int8_run: Path, tmp_path: Path, recipe: str, more: tuple[str, ...]
) -> None:
    own = ("--data", "digits", "--recipe", recipe, "-o", tmp_path / "run", *more)
    told = tinyml("compress", int8_run, *own)
    assert (told.code, told.err.count("\n"), list(tmp_path.iterdir())) == (2, 1, [])
    assert f"'{int8_run}' went through linear_quantization already" in told.err


def test_the_seed_is_sealed_in_the_recipe(tinyml: Run, tmp_path: Path) -> None:
    own = ("--model", "lenet-digits", "--recipe", "baseline", "-o", tmp_path / "run")
    assert tinyml("compress", "random", *own, "--seed", "7").code == 0
    assert load_recipe(str(tmp_path / "run" / "recipe.yaml")).seed == 7
    assert read_manifest(tmp_path / "run").fields["seed"] == 7


def test_a_dry_run_refuses_what_the_run_would_refuse(tinyml: Run, int8_run: Path, digits_checkpoint: Path) -> None:
    told = tinyml("compress", digits_checkpoint, *ON_DIGITS, "--recipe", "int8", "-o", int8_run, "--dry-run")
    assert (told.code, told.err.count("\n")) == (2, 1)
    assert "--overwrite" in told.err


def test_the_report_shows_the_command(tinyml: Run, digits_checkpoint: Path, tmp_path: Path) -> None:
    own = ("--model", "lenet-digits", "--recipe", "baseline", "-o", str(tmp_path / "run"))
    assert tinyml("compress", "random", *own).code == 0
    assert "tinyml compress random --model lenet-digits" in (tmp_path / "run" / "report.html").read_text(
        encoding="utf-8"
    )
