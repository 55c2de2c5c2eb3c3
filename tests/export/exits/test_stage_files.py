"""Stages as files: tinyml runs them, and so does the program beside them, without tinyml."""

import ast
import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from exit_models import images, tiny, write_stages

from tinyml.export.exits import split_stages
from tinyml.numerics.exit_rules import RULES, ExitRule
from tinyml.runtime.exit_policy import ExitPolicy
from tinyml.runtime.staged import open_staged

X = images(50)


def written(directory: Path, rule: ExitRule) -> Path:
    thresholds = (2.0, 2.0) if rule == "patience" else (0.35, 0.5)
    policy = ExitPolicy(rule=rule, thresholds=thresholds, temperatures=(1.5, 0.8))
    write_stages(directory, split_stages(tiny(int8=True)), policy)
    return directory


def ran(directory: Path) -> subprocess.CompletedProcess[str]:
    """What the program did with x.npy."""
    command = [sys.executable, "-I", "run_stages.py", "x.npy", "-o", "answers.npz", "--batch", "16"]
    return subprocess.run(command, cwd=directory, capture_output=True, text=True, check=False)


def test_the_files_are_named_by_stage(tmp_path: Path) -> None:
    files = {path.name for path in written(tmp_path, "margin").iterdir()}
    assert files == {"stage_0.onnx", "stage_1.onnx", "stage_2.onnx", "exits.json", "run_stages.py"}


@pytest.mark.parametrize("rule", RULES)
def test_the_program_beside_them_answers_as_tinyml(rule: ExitRule, tmp_path: Path) -> None:
    logits, exits = open_staged(written(tmp_path, rule)).run(X)
    np.save(tmp_path / "x.npy", X)
    result = ran(tmp_path)
    found = np.load(tmp_path / "answers.npz")
    assert len(set(exits)) > 1
    np.testing.assert_array_equal(found["exit"], exits)
    np.testing.assert_allclose(found["logits"], logits, atol=1e-4 * np.ptp(logits))
    assert result.stdout.splitlines() == [f"exit {i}: {(exits == i).sum()} of 50" for i in range(3)]


def test_the_program_needs_no_tinyml(tmp_path: Path) -> None:
    program = ast.parse((written(tmp_path, "margin") / "run_stages.py").read_text())
    plain = [alias.name for node in ast.walk(program) if isinstance(node, ast.Import) for alias in node.names]
    named = [str(node.module) for node in ast.walk(program) if isinstance(node, ast.ImportFrom)]
    brought = {name.partition(".")[0] for name in (*plain, *named)} - sys.stdlib_module_names
    assert brought == {"numpy", "onnxruntime"}


@pytest.mark.parametrize(
    ("change", "said"),
    [
        pytest.param({"thresholds": [1.5, 0.5]}, "exits.json: threshold of exit 0 is 1.5; allowed are 0 to 1", id="range"),
        pytest.param({"rule": "patience"}, "exits.json: threshold of exit 0 is 0.35; allowed are whole", id="patience"),
        pytest.param({"temperatures": [1.0, 0]}, "exits.json: temperature of exit 1 is 0; allowed are", id="temperature"),
        pytest.param({"stages": None}, "exits.json: stages is missing", id="no stages"),
        pytest.param({"rule": "hope"}, "exits.json: rule 'hope' is unknown; allowed are max_probability", id="rule"),
        pytest.param({"thresholds": [0.5]}, "exits.json: 3 stages want 2 thresholds", id="too few"),
        pytest.param({"stages": ["a.onnx"]}, "exits.json: 1 stages want 0 thresholds", id="a stage"),
    ],
)  # fmt: skip
def test_the_program_refuses_in_one_line_what_a_person_changed_wrongly(change, said, tmp_path: Path) -> None:
    file = written(tmp_path, "margin") / "exits.json"
    changed = json.loads(file.read_text()) | change
    file.write_text(json.dumps({key: value for key, value in changed.items() if value is not None}))
    np.save(tmp_path / "x.npy", X)
    told = ran(tmp_path)
    assert told.returncode == 2
    assert said in told.stderr.splitlines()[-1]


def test_the_program_says_where_no_json_is(tmp_path: Path) -> None:
    np.save(written(tmp_path, "margin") / "x.npy", X)
    (tmp_path / "exits.json").write_text("{")
    assert "exits.json: it is no JSON: Expecting" in ran(tmp_path).stderr.splitlines()[-1]


@pytest.mark.parametrize("lost", ["x.npy", "exits.json", "stage_1.onnx"])
def test_the_program_names_what_is_missing(lost: str, tmp_path: Path) -> None:
    np.save(written(tmp_path, "margin") / "x.npy", X)
    (tmp_path / lost).unlink()
    told = ran(tmp_path)
    assert told.returncode == 2
    assert lost in told.stderr.splitlines()[-1]


def test_the_program_names_what_the_first_stage_takes_where_it_is_given_something_else(tmp_path: Path) -> None:
    np.save(written(tmp_path, "margin") / "x.npy", X.astype(np.float64))
    told = ran(tmp_path)
    assert told.returncode == 2
    assert "Actual: (tensor(double)) , expected: (tensor(float))" in told.stderr.splitlines()[-1]
