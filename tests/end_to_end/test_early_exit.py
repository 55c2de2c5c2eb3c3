"""Early exit with the real commands on the digits: from the recipe to a file that skips, and what goes wrong."""

import json
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import torch

import tinyml as package
from tinyml.cli import main
from tinyml.export.exits import exit_policy
from tinyml.layers.exit_heads import EXIT_HEADS
from tinyml.manifest import verify_manifest
from tinyml.pipeline.reference import answers_at_exits
from tinyml.runtime.one_by_one import answer_each
from tinyml.runtime.session import open_session
from tinyml.runtime.staged import open_staged

Run = Callable[..., Any]
COMMON = ("--model", "lenet-digits", "--data", "digits", "--target", "x86-avx2", "-q")
RECIPE = """\
version: 1
name: exits
passes:
  - early_exit: {exits: 1, GOAL}
  - fine_tuning: {epochs: 2, learning_rate: 0.02, exits: {train: heads}}
"""
INT8 = "  - linear_quantization: {}\n"


def recipe(folder: Path, goal: str = "max_drop_points: 1", more: str = "") -> Path:
    file = folder / "mine.yaml"
    file.write_text(RECIPE.replace("GOAL", goal) + more)
    return file


@pytest.fixture(scope="module", params=["float", "int8"])
def run(request: pytest.FixtureRequest, once: Callable[..., Path], digits_checkpoint: Path) -> Path:
    """The run directory of lenet-digits with one exit; to be read only."""

    def make(path: Path) -> None:
        path.parent.joinpath(f"{path.name}-recipe").mkdir(exist_ok=True)
        file = recipe(path.parent / f"{path.name}-recipe", more=INT8 if request.param == "int8" else "")
        assert main(["compress", str(digits_checkpoint), *COMMON, "--recipe", str(file), "-o", str(path)]) == 0

    return once(f"exits-{request.param}", make)


@pytest.fixture(scope="module")
def images() -> np.ndarray:
    task = package.load_task("digits")
    return task.inputs(task.test.x)


def test_the_run_is_sealed_whole_and_verifies_with_data_and_without(tinyml: Run, run: Path) -> None:
    assert verify_manifest(run) == []
    names = {"model.onnx", "exit_choice.json", "stages/stage_0.onnx", "stages/stage_1.onnx", "stages/exits.json"}
    assert names <= json.loads((run / "manifest.json").read_text())["files"].keys()
    assert tinyml("verify", run).code == 0
    assert tinyml("verify", run, "--data", "digits").code == 0


def test_the_file_leaves_where_the_torch_network_does(run: Path, images: np.ndarray) -> None:
    policy = exit_policy(onnx.load(run / "model.onnx"))
    every = np.stack(answers_at_exits(package.load(run)[0], images))
    own = policy.taken(every)
    logits, taken = answer_each(open_session(run / "model.onnx"), images)
    assert (own == taken).mean() >= 0.98
    assert (every[own, np.arange(len(own))].argmax(1) == logits.argmax(1)).mean() >= 0.99


def test_the_stages_answer_as_the_one_file_does(run: Path, images: np.ndarray) -> None:
    logits, taken = answer_each(open_session(run / "model.onnx"), images)
    staged, exits = open_staged(run / "stages").run(images)
    np.testing.assert_array_equal(exits, taken)
    np.testing.assert_allclose(staged, logits, atol=1e-4 * np.ptp(logits))


def test_thresholds_for_the_same_budget_are_chosen_again_and_for_none_are_higher(
    tinyml: Run, run: Path, tmp_path: Path
) -> None:
    own = exit_policy(onnx.load(run / "model.onnx"))
    for points, name in (("1", "same"), ("0", "none")):
        options = ("--max-drop-points", points, "--data", "digits", "-o", tmp_path / name)
        assert tinyml("export", run, *options).code == 0
    assert exit_policy(onnx.load(tmp_path / "same" / "model.onnx")) == own
    higher = exit_policy(onnx.load(tmp_path / "none" / "model.onnx"))
    assert higher.thresholds > own.thresholds
    assert open_staged(tmp_path / "none" / "stages").policy == higher
    assert higher.temperatures == own.temperatures


def test_the_program_beside_the_stages_runs_without_tinyml(run: Path, images: np.ndarray, tmp_path: Path) -> None:
    np.save(tmp_path / "images.npy", images)
    program = [sys.executable, "-I", str(run / "stages" / "run_stages.py"), "images.npy", "-o", "answers.npz"]
    subprocess.run(program, cwd=tmp_path, check=True, capture_output=True)
    answered = np.load(tmp_path / "answers.npz")
    np.testing.assert_array_equal(answered["exit"], answer_each(open_session(run / "model.onnx"), images)[1])


def test_the_replay_says_where_each_example_leaves(run: Path) -> None:
    stored = np.load(run / "reference.npz")
    _, taken = answer_each(open_session(run / "model.onnx"), stored["input"])
    assert (stored["exit"] == taken).mean() >= 15 / 16
    assert stored["exit_logits"].shape == (2, 16, 10)


def test_the_program_of_the_card_runs_beside_the_file(run: Path) -> None:
    (program,) = re.findall(r"```python\n(.*?)```", (run / "README.md").read_text(), re.DOTALL)
    done = subprocess.run([sys.executable, "-c", program], cwd=run, check=True, capture_output=True, text=True)
    assert done.stdout.startswith("left at exit ")


@pytest.mark.parametrize("run", ["float"], indirect=True)
def test_the_network_in_front_of_the_heads_is_what_it_was(run: Path) -> None:
    module, root = package.load(run)[0], package.load(run / "baseline")[0]
    now = module.state_dict()
    assert all(torch.equal(tensor, now[name]) for name, tensor in root.state_dict().items())
    assert any(name.startswith(EXIT_HEADS) for name in now)


def test_the_report_and_the_card_tell_of_the_exits(run: Path) -> None:
    page, card = (run / "report.html").read_text(), (run / "README.md").read_text()
    for text in (page, card):
        assert "right if all left there" in text
        assert "Thresholds were chosen on 300 validation examples" in text
    assert "Accuracy against multiply-adds" in page


def test_benchmark_and_profile_read_the_file(tinyml: Run, run: Path) -> None:
    profile = json.loads(tinyml("profile", run, "--data", "digits", "--runs", "20", "--json").out)
    assert {"conv1", "conv2", "linear1"} <= {layer["name"] for layer in profile["layers"]}
    assert "If" not in {layer["operator"] for layer in profile["layers"]}
    told = tinyml("benchmark", run / "baseline" / "model.onnx", run, "--data", "digits", "--json")
    measured = json.loads(told.out)["measurements"][str(run)]
    assert measured["early_exits"]["n"] == 400
    assert measured["macs"]["value"] <= measured["macs"]["details"]["worst"]


def test_a_batch_is_told_what_batches_are_run_by(tinyml: Run, run: Path) -> None:
    told = tinyml("benchmark", run, "--batch", "4")
    assert told.code == 2
    assert told.err.count("\n") == 1
    assert "stages/, run_stages.py" in told.err


def test_runs_with_exits_compare_by_their_means(tinyml: Run, run: Path) -> None:
    told = tinyml("compare", run, "--remeasure", "--data", "digits", "--json")
    assert told.code == 0
    assert "latency_mean_ms" in json.loads(told.out)["timed_together"][run.name]
    alone = tinyml("compare", run, "--remeasure")
    assert (alone.code, "give --data beside --remeasure" in alone.err) == (2, True)


def test_a_copy_with_other_thresholds_leaves_elsewhere(
    tinyml: Run, run: Path, images: np.ndarray, tmp_path: Path
) -> None:
    assert tinyml("export", run, "--set-threshold", "0=2", "-o", tmp_path / "never.onnx").code == 0
    assert tinyml("export", run, "--set-threshold", "0=0", "-o", tmp_path / "always").code == 0
    assert set(answer_each(open_session(tmp_path / "never.onnx"), images[:20])[1]) == {1}
    assert set(answer_each(open_session(tmp_path / "always" / "model.onnx"), images[:20])[1]) == {0}
    assert set(open_staged(tmp_path / "always" / "stages").run(images[:20])[1]) == {0}


def test_a_share_out_of_reach_keeps_the_run_and_ends_with_3(
    tinyml: Run, digits_checkpoint: Path, tmp_path: Path
) -> None:
    file = recipe(tmp_path, "keep_macs: 0.1")
    told = tinyml("compress", digits_checkpoint, *COMMON, "--recipe", file, "-o", tmp_path / "run")
    assert told.code == 3
    assert "exits: keep_macs: 0.916 stays" in told.err
    assert verify_manifest(tmp_path / "run") == []
    assert tinyml("verify", tmp_path / "run").code == 3


def test_a_network_without_a_place_for_an_exit_is_refused(
    tinyml: Run, user_models: None, patches_card: Path, tmp_path: Path
) -> None:
    options = ("--data", patches_card, "--recipe", recipe(tmp_path), "-o", tmp_path / "run", "-q")
    told = tinyml("compress", "random", "--model", "user_models:data_dependent", *options)
    assert told.code == 2
    assert "no place for an exit" in told.err
    assert not (tmp_path / "run").exists()


HALF = "  - half_precision: {}\n"
NETWORKS = [
    pytest.param("densenet_like", "head: conv, rule: entropy", INT8, id="densenet-like, conv heads, entropy, int8"),
    pytest.param(
        "mobilenetv3_like", "head: flatten, rule: patience", INT8, id="mobilenetv3-like, flatten, patience, int8"
    ),
    pytest.param("small_vit", "rule: margin", INT8, id="vit, pooled heads, margin, int8"),
    pytest.param("small_vit", "head: flatten", "", id="vit, flatten heads, float"),
    pytest.param("densenet_like", "rule: patience", HALF, id="densenet-like, pooled heads, patience, half precision"),
]


@pytest.mark.slow
@pytest.mark.parametrize(("model", "settings", "more"), NETWORKS)
def test_networks_that_nobody_knows_get_exits_that_verify(
    tinyml: Run, user_models: None, patches_card: Path, tmp_path: Path, model: str, settings: str, more: str
) -> None:
    file = recipe(tmp_path, f"max_drop_points: 5, {settings}", more)
    file.write_text(file.read_text().replace("epochs: 2", "epochs: 1").replace("exits: 1", "exits: 2"))
    options = ("--data", patches_card, "--target", "x86-avx2", "--recipe", file, "-o", tmp_path / "run")
    told = tinyml("compress", "random", "--model", f"user_models:{model}", *options)
    assert (told.code, told.err) == (0, ""), told.out


def test_a_killed_run_goes_on_to_the_same_bytes(
    tinyml: Run, digits_checkpoint: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = recipe(tmp_path, "keep_macs: 0.95", INT8)
    whole, parts = (
        ("compress", digits_checkpoint, *COMMON, "--recipe", file, "-o", tmp_path / name) for name in ("a", "b")
    )
    assert tinyml(*whole).code == 0

    def interrupt(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr("tinyml.pipeline.exit_files.choose_exits", interrupt)
        assert tinyml(*parts).code == 130
    assert tinyml(*parts, "--resume").code == 0
    for name in ("model.onnx", "stages/stage_1.onnx", "stages/exits.json", "exit_choice.json", "reference.npz"):
        assert (tmp_path / "a" / name).read_bytes() == (tmp_path / "b" / name).read_bytes()


def test_pixels_as_input(tinyml: Run, digits_checkpoint: Path, tmp_path: Path) -> None:
    options = (*COMMON, "--recipe", recipe(tmp_path), "--set", "export.input=uint8", "-o", tmp_path / "run")
    assert tinyml("compress", digits_checkpoint, *options).code == 0
    session = open_session(tmp_path / "run" / "model.onnx")
    assert (session.input_dtype, session.input_shape) == (np.uint8, (1, 8, 8, 1))
