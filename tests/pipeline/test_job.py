"""What a job refuses, and what its fingerprint tells apart."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch

from tinyml.data import Task
from tinyml.errors import DataError, ModelError, RecipeError, UsageError
from tinyml.target import load_target


def changes(job, **changed: object) -> set[str]:
    """Return the names under which the fingerprint differs."""
    before, after = job().fingerprint(), job(**changed).fingerprint()
    return {name for name in before | after if before.get(name) != after.get(name)}


@pytest.mark.parametrize(
    ("changed", "name"),
    [
        pytest.param({"model": "vgg-cifar"}, "model", id="model"),
        pytest.param({"model_args": {"classes": 4}}, "model arguments", id="model arguments"),
        pytest.param({"input_shape": (1, 8, 8)}, "input shape", id="input shape"),
        pytest.param({"target": load_target("arm64")}, "target", id="target"),
        pytest.param({"task": None}, "data", id="no data"),
        pytest.param({"threads": 2}, "threads", id="threads of the runtime"),
        pytest.param({"device": "cuda"}, "device", id="device"),
    ],
)
def test_the_fingerprint_changes_with_each_input(job, changed: dict[str, object], name: str) -> None:
    assert changes(job, **changed) == {name}


def test_the_fingerprint_is_that_of_the_same_job(job) -> None:
    assert changes(job) == set()
    assert changes(job, command="tinyml compress --quiet") == set()


def test_a_setting_of_a_pass_changes_its_own_line_alone(job) -> None:
    before, after = job().fingerprint(), job("int8", "passes.0.calibration.images=64").fingerprint()
    assert [name for name in before if before[name] != after[name]] == [
        "recipe's passes.0.linear_quantization.calibration.images"
    ]


def test_the_seed_is_the_recipes_and_changes_nothing_else(job) -> None:
    seeded = job("int8", "seed=7")
    before, after = job().fingerprint(), seeded.fingerprint()
    assert seeded.seed == 7
    assert [name for name in before if before[name] != after[name]] == ["seed"]


def test_other_data_under_the_same_name_changes_the_data(job, digits: Task) -> None:
    other = replace(digits, test=digits.validation, fingerprint="")
    assert changes(job, task=other) == {"data"}


def test_torchs_threads_change_the_fingerprint(job) -> None:
    before, threads = job().fingerprint(), torch.get_num_threads()
    torch.set_num_threads(threads + 1)
    after = job().fingerprint()
    torch.set_num_threads(threads)
    assert [name for name in before if before[name] != after[name]] == ["threads"]


def test_a_checkpoint_is_told_by_its_bytes_and_a_run_by_its_manifest(job, tmp_path: Path) -> None:
    file, run = tmp_path / "net.pt", tmp_path / "run"
    file.write_bytes(b"one")
    run.mkdir()
    (run / "manifest.json").write_bytes(b"one")
    same = {job(checkpoint=path).fingerprint()["checkpoint"] for path in (file, run)}
    file.write_bytes(b"two")
    assert len(same) == 1
    assert job(checkpoint=file).fingerprint()["checkpoint"] not in {*same, "random"}


def test_every_package_that_shapes_the_result_is_in_it(job) -> None:
    names = {name.removeprefix("version of ") for name in job().fingerprint() if name.startswith("version of ")}
    assert {"tinyml", "torch", "onnx", "onnxruntime", "onnxscript", "numpy"} <= names


UINT8, BUDGET = "export.input=uint8", "gates.max_drop_points=1"


@pytest.mark.parametrize(
    ("override", "changed", "error", "message"),
    [
        pytest.param(UINT8, {"task": None}, DataError, "give --data", id="pixels without data"),
        pytest.param(BUDGET, {"task": None}, DataError, "needs a test split", id="a budget without data"),
        pytest.param("seed=0", {"model": ""}, ModelError, "need --model", id="random weights of no model"),
    ],
)
def test_a_job_that_cannot_work_is_refused(job, override: str, changed, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        job("int8", override, **changed).check()


def test_a_budget_needs_test_data_of_a_classification(job, digits: Task) -> None:
    with pytest.raises(DataError, match="needs a test split"):
        job("int8", BUDGET, task=replace(digits, test=None, fingerprint="")).check()
    normal = {name: replace(split, y=split.y * 0) for name, split in digits.splits.items()}
    other = replace(digits, kind="reconstruction", classes=(), fingerprint="", **normal)
    with pytest.raises(RecipeError, match="is for classification; task 'digits' is reconstruction"):
        job("int8", BUDGET, task=other).check()


def test_a_device_that_is_not_here_is_refused(job) -> None:
    with pytest.raises(UsageError, match="no device 'cuda:99' here; allowed: cpu"):
        job(device="cuda:99").check()


def test_data_with_nothing_to_measure_on_is_refused(job, digits: Task) -> None:
    with pytest.raises(DataError, match="neither a test nor a validation split"):
        job(task=replace(digits, test=None, validation=None, fingerprint="")).check()
