"""What docs/training.md says: its examples run, its recipes load, its tables are complete."""

import dataclasses
import json
import re
from pathlib import Path

import pytest

from tinyml.passes.fine_tuning import Distillation, FineTuning
from tinyml.pipeline import verify_subject
from tinyml.recipe import load_recipe

TRAINING = (Path(__file__).parents[1] / "docs" / "training.md").read_text(encoding="utf-8")


def blocks(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", TRAINING, re.DOTALL)


def loaded(text: str, folder: Path) -> FineTuning:
    """Return the first pass of a recipe, or of a list of passes."""
    file = folder / "mine.yaml"
    file.write_text(text if text.startswith("version") else f"version: 1\nname: mine\npasses:\n{text}")
    settings = load_recipe(str(file)).passes[0].settings
    assert isinstance(settings, FineTuning)
    return settings


def test_the_examples_run_one_after_another(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    names: dict[str, object] = {}
    for example in blocks("python"):
        exec(compile(example, "docs/training.md", "exec"), names)
    assert names["result"].best.validation_score > 0.8  # type: ignore[attr-defined]  # a TrainingResult
    assert names["taught"].best.validation_score > 0.8  # type: ignore[attr-defined]
    assert names["outcome"].measurements["model"]["accuracy"].value > 0.8  # type: ignore[attr-defined]  # an Outcome
    assert verify_subject(tmp_path / "runs" / "own-loop").passed


def test_the_recipes_load(tmp_path: Path) -> None:
    tuned, taught = (loaded(block, tmp_path) for block in blocks("yaml"))
    assert (tuned.epochs, tuned.distill) == (5, Distillation())
    assert taught.distill == Distillation(hints=("layer?",), teacher=Path("big.pt"), teacher_model="resnet56-cifar")


def test_every_key_of_a_distillation_is_shown() -> None:
    shown = re.findall(r"^      (\w+):", blocks("yaml")[1], re.MULTILINE)
    assert shown == [field.name for field in dataclasses.fields(Distillation)]


def test_the_table_has_every_setting_with_its_default() -> None:
    rows = re.findall(r"^\| `(\w+)` \| ([^|]+) \|", TRAINING, re.MULTILINE)
    values = {field.name: getattr(FineTuning(), field.name) for field in dataclasses.fields(FineTuning)}
    assert rows == [
        (name, json.dumps(value, default=lambda _: "see below").strip('"')) for name, value in values.items()
    ]
