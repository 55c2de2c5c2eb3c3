"""Verifying again what was made before."""

import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import numpy_helper

from tinyml.data import Task
from tinyml.errors import CheckpointError, DataError
from tinyml.manifest import MANIFEST_NAME, read_manifest, write_manifest
from tinyml.pipeline import compress, verify_subject
from tinyml.target import load_target
from tinyml.verification import Verification


def outcomes(verification: Verification) -> dict[str, str]:
    return {check.name: check.outcome for check in verification.checks}


def value(verification: Verification, name: str) -> str:
    return next(check.value for check in verification.checks if check.name == name)


@pytest.fixture
def run(int8_run: Path, tmp_path: Path) -> Path:
    """A copy of a run that may be changed."""
    return Path(shutil.copytree(int8_run, tmp_path / "run"))


def seal_again(run: Path, **fields: object) -> None:
    """Seal a run anew after its files were changed."""
    manifest = read_manifest(run)
    (run / MANIFEST_NAME).unlink()
    kept = {name: item for name, item in {**manifest.fields, **fields}.items() if item is not ...}
    write_manifest(run, fingerprint=manifest.fingerprint, fields=kept)  # type: ignore[arg-type]  # JSON


def negate_last_layer(run: Path) -> None:
    """Make the file answer with the least likely class."""
    model = onnx.load(run / "model.onnx")
    entry = next(entry for entry in model.graph.initializer if entry.name == "linear2.weight_quantized")
    entry.CopyFrom(numpy_helper.from_array(-numpy_helper.to_array(entry), entry.name))
    onnx.save(model, run / "model.onnx")


def test_a_run_is_checked_on_test_data_and_without_on_what_it_kept(int8_run: Path, digits: Task) -> None:
    with_data, alone = verify_subject(int8_run, task=digits), verify_subject(int8_run)
    assert value(with_data, "same answer as the torch model").endswith("of 400")
    assert value(alone, "same answer as the torch model").endswith("of 16")
    assert with_data.passed
    assert alone.passed


def test_so_many_images_are_compared_as_are_asked_for(int8_run: Path, digits: Task) -> None:
    assert value(verify_subject(int8_run, task=digits, images=50), "same answer as the torch model").endswith("of 50")


def test_a_file_that_disagrees_with_its_model_fails_even_when_it_was_sealed_so(run: Path, digits: Task) -> None:
    negate_last_layer(run)
    seal_again(run)
    assert outcomes(verify_subject(run, task=digits))["same answer as the torch model"] == "failed"
    assert outcomes(verify_subject(run))["same answer as the torch model"] == "failed"


def test_a_changed_file_is_told_before_anything_is_run(run: Path) -> None:
    negate_last_layer(run)
    verification = verify_subject(run)
    assert outcomes(verification) == {"hashes of all files": "failed"}
    assert "model.onnx" in value(verification, "hashes of all files")


@pytest.mark.parametrize(
    ("damage", "word"),
    [
        pytest.param(lambda run: (run / "report.html").unlink(), "report.html", id="a missing file"),
        pytest.param(lambda run: (run / "extra.txt").write_text("x"), "extra.txt", id="a further file"),
    ],
)
def test_a_run_that_lost_or_gained_a_file_fails(run: Path, damage, word: str) -> None:
    damage(run)
    assert word in value(verify_subject(run), "hashes of all files")


def test_one_of_the_sixteen_kept_inputs_may_differ_and_two_may_not(run: Path) -> None:
    with np.load(run / "reference.npz") as stored:
        inputs, outputs = stored["input"], stored["output"].copy()
    for differing, outcome in ((1, "passed"), (2, "failed")):
        outputs[differing - 1] *= -1
        np.savez(run / "reference.npz", input=inputs, output=outputs)
        seal_again(run)
        assert outcomes(verify_subject(run))["same answer as the torch model"] == outcome


def test_three_runs_on_few_inputs_allow_as_much(run: Path) -> None:
    bounds = {check.name: check.bound for check in verify_subject(run).checks}
    assert (bounds["three runs on this CPU"], bounds["same answer as the torch model"]) == (
        ">= 93.75% each",
        ">= 93.8%",
    )


def test_every_kept_input_must_agree_in_a_float32_file(job, digits_checkpoint: Path, tmp_path: Path) -> None:
    run = compress(job("baseline", checkpoint=digits_checkpoint), tmp_path / "float").path
    assert outcomes(verify_subject(run))["same answer as the torch model"] == "passed"
    with np.load(run / "reference.npz") as stored:
        inputs, outputs = stored["input"], stored["output"].copy()
    outputs[0] *= -1
    np.savez(run / "reference.npz", input=inputs, output=outputs)
    seal_again(run)
    assert outcomes(verify_subject(run))["same answer as the torch model"] == "failed"


@pytest.mark.parametrize(
    ("budget", "outcome"), [pytest.param(50, "passed", id="kept"), pytest.param(0, "failed", id="missed")]
)
@pytest.mark.parametrize("data", [pytest.param(True, id="with data"), pytest.param(False, id="without")])
def test_the_accuracy_budget_is_held_against_what_was_sealed(run: Path, digits: Task, budget, outcome, data) -> None:
    metrics = json.loads((run / "metrics.json").read_text())
    metrics["model"]["accuracy"]["value"] = metrics["baseline"]["accuracy"]["value"] - 0.25
    (run / "metrics.json").write_text(json.dumps(metrics))
    recipe = (run / "recipe.yaml").read_text().replace("max_drop_points: null", f"max_drop_points: {budget}")
    (run / "recipe.yaml").write_text(recipe)
    seal_again(run)
    assert outcomes(verify_subject(run, task=digits if data else None))["accuracy budget"] == outcome


def test_the_recipes_agreement_is_that_of_verify(run: Path) -> None:
    negate_last_layer(run)
    recipe = (run / "recipe.yaml").read_text().replace("agreement: null", "agreement: 0.0")
    (run / "recipe.yaml").write_text(recipe)
    seal_again(run)
    assert outcomes(verify_subject(run))["same answer as the torch model"] == "passed"


def test_random_inputs_have_no_classes_to_compare(run: Path) -> None:
    seal_again(run, task=None)
    assert "same answer as the torch model" not in outcomes(verify_subject(run))


def test_the_target_of_the_run_is_the_default(run: Path) -> None:
    wide = replace(load_target("x86-vnni"), name="other")
    assert read_manifest(run).fields["target"] != ""
    assert verify_subject(run, target=wide).passed


@pytest.mark.parametrize("made", [pytest.param(False, id="missing"), pytest.param(True, id="a folder that is no run")])
def test_what_is_no_run_is_refused(tmp_path: Path, made: bool) -> None:
    if made:
        (tmp_path / "run").mkdir()
    with pytest.raises(CheckpointError, match="give"):
        verify_subject(tmp_path / "run")


def test_data_of_another_shape_is_refused(int8_run: Path, small_digits: Task) -> None:
    with pytest.raises(DataError, match=r"takes inputs \(1, 8, 8\)"):
        verify_subject(int8_run, task=small_digits)


def test_the_json_of_a_verification_is_plain(int8_run: Path) -> None:
    verification = verify_subject(int8_run)
    assert Verification.from_json(json.loads(json.dumps(verification.to_json()))) == verification
