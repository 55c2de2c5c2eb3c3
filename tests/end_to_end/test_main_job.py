"""The main job with the real commands, on the digits: train, compress, verify, benchmark, profile."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest

import tinyml as package
from tinyml.manifest import read_manifest, verify_manifest

Run = Callable[..., Any]

ON_DIGITS = ("--model", "lenet-digits", "--data", "digits")
CONTENTS = {
    "model.onnx", "model.safetensors", "architecture.json", "recipe.yaml", "reference.npz",
    "baseline/model.onnx", "baseline/model.safetensors", "baseline/architecture.json",
    "metrics.json", "history.jsonl", "report.html", "README.md", "manifest.json",
}  # fmt: skip


def files(directory: Path) -> set[str]:
    return {path.relative_to(directory).as_posix() for path in directory.rglob("*") if not path.is_dir()}


def answers(path: Path, inputs: np.ndarray) -> np.ndarray:
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    assert [entry.name for entry in session.get_inputs()] == ["input"]
    assert [entry.name for entry in session.get_outputs()] == ["output"]
    return session.run(None, {"input": inputs})[0]


def test_a_run_directory_holds_exactly_what_the_contract_says(int8_run: Path) -> None:
    assert files(int8_run) == CONTENTS
    assert verify_manifest(int8_run) == []


def test_the_manifest_says_how_the_run_was_made(int8_run: Path) -> None:
    fields = read_manifest(int8_run).fields
    assert (fields["seed"], fields["threads"], fields["parent"], fields["model"]) == (
        0,
        1,
        "lenet.safetensors",
        "lenet-digits",
    )
    assert {"torch", "onnx", "onnxruntime", "tinyml"} <= set(fields["versions"])


def test_the_file_that_ships_is_int8_with_a_dynamic_batch_and_no_stack_traces(int8_run: Path) -> None:
    model = onnx.load(int8_run / "model.onnx")
    kinds = {entry.name: entry.data_type for entry in model.graph.initializer}
    assert [kind for name, kind in kinds.items() if name.endswith("weight_quantized")] == [onnx.TensorProto.INT8] * 4
    assert model.graph.input[0].type.tensor_type.shape.dim[0].dim_param
    assert not any(node.metadata_props for node in model.graph.node)
    assert (model.opset_import[0].version, model.ir_version) == (21, 10)


def test_the_int8_file_is_a_third_of_the_float_one_and_as_right_on_the_test_digits(int8_run: Path) -> None:
    task = package.load_task("digits")
    right = {
        name: (answers(int8_run / name, task.inputs(task.test.x)).argmax(1) == task.test.y).mean()
        for name in ("baseline/model.onnx", "model.onnx")
    }
    measured = json.loads((int8_run / "metrics.json").read_text())
    assert [measured[side]["accuracy"]["value"] for side in ("baseline", "model")] == pytest.approx(
        list(right.values())
    )
    assert right["baseline/model.onnx"] > 0.9
    assert abs(right["model.onnx"] - right["baseline/model.onnx"]) <= 0.01
    assert (int8_run / "model.onnx").stat().st_size < 0.33 * (int8_run / "baseline" / "model.onnx").stat().st_size


def test_the_reference_replays_on_the_file(int8_run: Path) -> None:
    with np.load(int8_run / "reference.npz", allow_pickle=False) as stored:
        answered = answers(int8_run / "model.onnx", stored["input"])
        assert (answered.argmax(1) == stored["output"].argmax(1)).mean() >= 15 / 16
        assert stored["input"].shape == (16, 1, 8, 8)


def test_the_recipe_is_written_with_every_default_and_runs_again(int8_run: Path) -> None:
    recipe = package.load_recipe(str(int8_run / "recipe.yaml"))
    assert recipe == package.load_recipe("int8")
    assert "method: mse" in (int8_run / "recipe.yaml").read_text()


def test_the_history_has_every_step_in_its_order(int8_run: Path) -> None:
    events = [json.loads(line)["event"] for line in (int8_run / "history.jsonl").read_text().splitlines()]
    assert events == ["baseline", "pass-00-linear_quantization", "export", "verify", "measure", "report"]


def test_the_report_stands_alone_and_tells_the_result(int8_run: Path) -> None:
    page = (int8_run / "report.html").read_text(encoding="utf-8")
    assert "http://" not in page.replace("http://www.w3.org/", "")
    assert "<script src" not in page
    assert "<link" not in page
    assert "lenet-digits" in page
    assert "int8 is right on every CPU" in page


def test_the_compressed_model_loads_and_answers_as_the_file_does(int8_run: Path) -> None:
    module, architecture = package.load(int8_run)
    with np.load(int8_run / "reference.npz") as stored:
        import torch

        with torch.inference_mode():
            outputs = module(torch.from_numpy(stored["input"])).numpy()
        np.testing.assert_array_equal(outputs, stored["output"])
    assert architecture.model == "lenet-digits"


def test_verify_passes_on_the_run_with_and_without_data(tinyml: Run, int8_run: Path) -> None:
    with_data, alone = tinyml("verify", int8_run, "--data", "digits", "--json"), tinyml("verify", int8_run)
    assert (with_data.code, alone.code) == (0, 0)
    checks = {check["name"]: check for check in json.loads(with_data.out)["checks"]}
    assert checks["same answer as the torch model"]["value"].endswith("of 400")
    assert checks["int8 is right on every CPU"]["outcome"] == "passed"
    assert files(int8_run) == CONTENTS


def test_benchmark_takes_run_directories_and_files(tinyml: Run, int8_run: Path, tmp_path: Path) -> None:
    output = tmp_path / "times.json"
    told = tinyml(
        "benchmark", int8_run / "baseline" / "model.onnx", int8_run, "--data", "digits", "--json", "-o", output
    )
    result = json.loads(told.out)
    assert told.code == 0
    assert json.loads(output.read_text()) == result
    first, second = result["measurements"].values()
    assert first["macs"]["value"] == second["macs"]["value"] == 337_536
    assert len(second["latency_ms"]["samples"]) == second["latency_ms"]["n"]


def test_profile_shows_the_layers_of_a_run(tinyml: Run, int8_run: Path) -> None:
    told = tinyml("profile", int8_run, "--runs", "5", "--json")
    layers = json.loads(told.out)["layers"]
    assert told.code == 0
    assert sum(layer["macs"] or 0 for layer in layers) == 337_536


def test_compress_prints_its_result_as_json(tinyml: Run, digits_checkpoint: Path, tmp_path: Path) -> None:
    told = tinyml("compress", digits_checkpoint, *ON_DIGITS, "--recipe", "baseline", "-o", tmp_path / "r", "--json")
    result = json.loads(told.out)
    assert (told.code, result["passed"], result["path"]) == (0, True, str(tmp_path / "r"))
    assert result["measurements"]["model"]["accuracy"] == result["measurements"]["baseline"]["accuracy"]
    assert (tmp_path / "r" / "model.onnx").read_bytes() == (tmp_path / "r" / "baseline" / "model.onnx").read_bytes()
    assert files(tmp_path / "r") == CONTENTS


def test_fp16_halves_the_file_and_agrees(tinyml: Run, digits_checkpoint: Path, tmp_path: Path) -> None:
    told = tinyml("compress", digits_checkpoint, *ON_DIGITS, "--recipe", "fp16", "-o", tmp_path / "r")
    size = {name: (tmp_path / "r" / name).stat().st_size for name in ("model.onnx", "baseline/model.onnx")}
    assert told.code == 0
    assert size["model.onnx"] < 0.55 * size["baseline/model.onnx"]
    assert tinyml("verify", tmp_path / "r", "--data", "digits").code == 0


def test_a_uint8_file_takes_pixels_and_normalises_them(tinyml: Run, digits_checkpoint: Path, tmp_path: Path) -> None:
    recipe = tmp_path / "pixels.yaml"
    recipe.write_text("version: 1\nname: pixels\npasses: [linear_quantization]\nexport: {input: uint8}\n")
    run = tmp_path / "r"
    told = tinyml("compress", digits_checkpoint, *ON_DIGITS, "--recipe", recipe, "--target", "x86-avx2", "-o", run)
    task = package.load_task("digits")
    right = (answers(run / "model.onnx", task.test.x).argmax(1) == task.test.y).mean()
    assert told.code == 0
    assert right == json.loads((run / "metrics.json").read_text())["model"]["accuracy"]["value"] > 0.9
    assert tinyml("verify", run, "--data", "digits").code == 0
    assert tinyml("verify", run).code == 0


def test_a_chain_keeps_the_baseline_of_its_root(tinyml: Run, digits_checkpoint: Path, tmp_path: Path) -> None:
    first, second = tmp_path / "first", tmp_path / "second"
    assert tinyml("compress", digits_checkpoint, *ON_DIGITS, "--recipe", "baseline", "-o", first).code == 0
    before = {name: (first / name).read_bytes() for name in files(first)}
    told = tinyml("compress", first, "--data", "digits", "--recipe", "int8", "--target", "x86-avx2", "-o", second)
    assert told.code == 0
    assert (second / "baseline" / "model.onnx").read_bytes() == before["baseline/model.onnx"]
    assert (second / "model.onnx").read_bytes() != before["model.onnx"]
    assert read_manifest(second).fields["parent"] == "first"
    assert {name: (first / name).read_bytes() for name in files(first)} == before


def test_random_weights_are_measured_without_data(tinyml: Run, tmp_path: Path) -> None:
    told = tinyml(
        "compress", "random", "--model", "lenet-digits", "--recipe", "baseline", "-o", tmp_path / "r", "--json"
    )
    measured = json.loads(told.out)["measurements"]["model"]
    assert told.code == 0
    assert measured["macs"]["value"] == 337_536
    assert "accuracy" not in measured
    verified = tinyml("verify", tmp_path / "r", "--json")
    assert verified.code == 0
    assert "same answer as the torch model" not in [check["name"] for check in json.loads(verified.out)["checks"]]


def test_a_dry_run_writes_nothing(tinyml: Run, digits_checkpoint: Path, tmp_path: Path) -> None:
    told = tinyml(
        "compress", digits_checkpoint, *ON_DIGITS, "--recipe", "int8", "-o", tmp_path / "a" / "b", "--dry-run"
    )
    assert (told.code, list(tmp_path.iterdir())) == (0, [])
    assert "linear_quantization" in told.out
    assert "nothing was written" in told.out


def test_the_same_command_gives_the_same_bytes(
    tinyml: Run, int8_run: Path, digits_checkpoint: Path, tmp_path: Path
) -> None:
    again = tmp_path / "again"
    told = tinyml("compress", digits_checkpoint, *ON_DIGITS, "--recipe", "int8", "--target", "x86-avx2", "-o", again)
    same = (
        "recipe.yaml",
        "architecture.json",
        "model.safetensors",
        "model.onnx",
        "reference.npz",
        "baseline/model.onnx",
    )
    assert told.code == 0
    assert [name for name in same if (again / name).read_bytes() != (int8_run / name).read_bytes()] == []


@pytest.mark.parametrize("factory", ["mixed", "mlp"])
@pytest.mark.usefixtures("user_models")
def test_a_users_own_model_goes_the_whole_way(tinyml: Run, patches_card: Path, tmp_path: Path, factory: str) -> None:
    own = ("--model", f"user_models:{factory}", "--data", patches_card)
    trained, run = tmp_path / "own.safetensors", tmp_path / "run"
    learnt = tinyml("train", *own, "--epochs", "4", "--learning-rate", "0.05", "--threads", "1", "-o", trained)
    told = tinyml("compress", trained, *own, "--recipe", "int8", "--target", "x86-avx2", "-o", run)
    assert (learnt.code, told.code, told.err) == (0, 0, "")
    assert tinyml("verify", run, "--data", patches_card).code == 0
    assert json.loads((run / "metrics.json").read_text())["model"]["accuracy"]["value"] > 0.9
