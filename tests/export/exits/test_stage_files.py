"""Stages as files: tinyml runs them, and so does the program beside them, without tinyml."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from exit_models import images, tiny

from tinyml.export.exits import split_stages, write_stages
from tinyml.numerics.exit_rules import RULES, ExitRule
from tinyml.runtime.exit_policy import ExitPolicy
from tinyml.runtime.staged import open_staged

X = images(50)


def written(directory: Path, rule: ExitRule) -> Path:
    thresholds = (2.0, 2.0) if rule == "patience" else (0.35, 0.5)
    policy = ExitPolicy(rule=rule, thresholds=thresholds, temperatures=(1.5, 0.8))
    write_stages(directory, split_stages(tiny(int8=True)), policy)
    return directory


def test_the_files_are_named_by_stage(tmp_path: Path) -> None:
    files = {path.name for path in written(tmp_path, "margin").iterdir()}
    assert files == {"stage_0.onnx", "stage_1.onnx", "stage_2.onnx", "exits.json", "run_stages.py"}


@pytest.mark.parametrize("rule", RULES)
def test_the_program_beside_them_answers_as_tinyml(rule: ExitRule, tmp_path: Path) -> None:
    logits, exits = open_staged(written(tmp_path, rule)).run(X)
    np.save(tmp_path / "x.npy", X)
    command = [sys.executable, "-I", "run_stages.py", "x.npy", "-o", "answers.npz", "--batch", "16"]
    result = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=True)
    found = np.load(tmp_path / "answers.npz")
    assert len(set(exits)) > 1
    np.testing.assert_array_equal(found["exit"], exits)
    np.testing.assert_allclose(found["logits"], logits, atol=1e-4 * np.ptp(logits))
    assert result.stdout.splitlines() == [f"exit {i}: {(exits == i).sum()} of 50" for i in range(3)]


def test_the_program_needs_no_tinyml(tmp_path: Path) -> None:
    assert "import tinyml" not in (written(tmp_path, "margin") / "run_stages.py").read_text()
