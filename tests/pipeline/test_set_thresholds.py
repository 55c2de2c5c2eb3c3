"""A copy with other thresholds: nothing else in it changes."""

from pathlib import Path

import onnx
import pytest
from exit_models import tiny, write_stages

from tinyml.errors import CheckpointError
from tinyml.export.exits import exit_policy, join_stages, split_stages
from tinyml.pipeline.set_thresholds import changed_exits, write_files
from tinyml.runtime.exit_policy import ExitPolicy
from tinyml.runtime.exits_file import read_exits

POLICY = ExitPolicy(rule="margin", thresholds=(0.25, 0.5), temperatures=(1.0, 2.0))


@pytest.fixture
def run(tmp_path: Path) -> Path:
    """A folder with the two forms of a network, as a run has them."""
    stages = split_stages(tiny())
    onnx.save(join_stages(stages, POLICY), tmp_path / "model.onnx")
    (tmp_path / "stages").mkdir()
    write_stages(tmp_path / "stages", stages, POLICY)
    return tmp_path


def test_both_forms_get_the_new_thresholds_and_keep_all_else(run: Path) -> None:
    made = changed_exits(run, {0: 0.75}, with_stages=True)
    write_files(run / "copy", made.files)
    assert (made.before, made.after.thresholds) == (POLICY, (0.75, 0.5))
    assert exit_policy(onnx.load(run / "copy" / "model.onnx")) == made.after
    assert read_exits(run / "copy" / "stages" / "exits.json").policy == made.after
    for name in ("stage_0.onnx", "stage_2.onnx", "run_stages.py"):
        assert (run / "copy" / "stages" / name).read_bytes() == (run / "stages" / name).read_bytes()


def test_what_else_lies_beside_the_stages_is_not_copied(run: Path) -> None:
    (run / "stages" / "__pycache__").mkdir()
    (run / "stages" / "answers.npz").write_bytes(b"of another run")
    made = changed_exits(run, {0: 0.75}, with_stages=True)
    names = {"stage_0.onnx", "stage_1.onnx", "stage_2.onnx", "exits.json", "run_stages.py"}
    assert made.files.keys() == {"model.onnx", *(f"stages/{name}" for name in names)}


def test_a_stage_that_is_missing_is_named(run: Path) -> None:
    (run / "stages" / "stage_1.onnx").unlink()
    with pytest.raises(CheckpointError, match=r"stage_1\.onnx: no such file"):
        changed_exits(run, {0: 0.75}, with_stages=True)


def test_the_old_thresholds_make_the_old_file_again(run: Path) -> None:
    later = changed_exits(run, {0: 0.75}, with_stages=False).files["model.onnx"]
    (run / "later.onnx").write_bytes(later)
    again = changed_exits(run / "later.onnx", {0: 0.25}, with_stages=False).files["model.onnx"]
    assert onnx.load_from_string(again) == onnx.load(run / "model.onnx")


def test_a_lone_file_has_no_stages_to_copy(run: Path) -> None:
    with pytest.raises(CheckpointError, match="has no stages: give the run directory"):
        changed_exits(run / "model.onnx", {0: 0.75}, with_stages=True)
