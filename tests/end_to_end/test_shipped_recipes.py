"""Every shipped recipe goes the whole way on the digits, each of its trainings cut to one epoch."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tinyml.recipe import load_recipe
from tinyml.shipped import shipped_files

QUICK = ("kmeans2", "everything")
OUT_OF_REACH = {"latency60": 3}  # most of LeNet's time is no channel's: the goal is missed, and said so


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=[] if name in QUICK else pytest.mark.slow) for name in shipped_files("recipes")]
)
def test_a_shipped_recipe_ends_in_a_file_that_agrees(
    tinyml: Callable[..., Any], tmp_path: Path, digits_checkpoint: Path, name: str
) -> None:
    trainings = [index for index, entry in enumerate(load_recipe(name).passes) if entry.name == "fine_tuning"]
    shorter = [word for index in trainings for word in ("--set", f"passes.{index}.epochs=1")]
    options = ("--model", "lenet-digits", "--data", "digits", "--recipe", name, *shorter, "-o", tmp_path / "run")
    assert tinyml("compress", digits_checkpoint, *options).code == OUT_OF_REACH.get(name, 0)
    if name not in OUT_OF_REACH:
        checks = json.loads(tinyml("verify", tmp_path / "run", "--json").out)["checks"]
        assert [check["name"] for check in checks if check["outcome"] == "failed"] == []
