"""Channels cut, then int8: the file verifies, the run can be gone on from, and the order of passes is kept."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

pytestmark = pytest.mark.slow

Run = Callable[..., Any]
RECIPE = """\
version: 1
name: narrow-int8
gates: {max_drop_points: 100}
passes:
  - channel_pruning: {keep_macs: 0.5, importance: taylor, images: 64}
  - linear_quantization: {calibration: {images: 64}}
"""


def test_a_network_is_cut_and_quantized_and_its_file_verifies(tinyml: Run, digits_checkpoint: Path, tmp_path: Path):
    recipe, run = tmp_path / "r.yaml", tmp_path / "run"
    recipe.write_text(RECIPE, encoding="utf-8")
    own = ("--data", "digits", "--target", "x86-avx2", "--recipe", recipe)
    told = tinyml("compress", digits_checkpoint, "--model", "lenet-digits", *own, "-o", run)
    metrics = json.loads((run / "metrics.json").read_text())
    assert told.code == 0, told.err
    assert metrics["model"]["macs"]["value"] <= 0.5 * metrics["baseline"]["macs"]["value"]
    assert tinyml("verify", run, "--data", "digits").code == 0
    again = tinyml("compress", run, *own, "-o", tmp_path / "again")
    assert (again.code, "channel_pruning would prune after linear_quantization" in again.err) == (2, True)
