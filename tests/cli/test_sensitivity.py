"""`tinyml sensitivity` from the outside, on the digits."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tinyml.analysis.sensitivity import measure
from tinyml.recipe import load_recipe

Run = Callable[..., Any]

OPTIONS = ("--model", "lenet-digits", "--data", "digits", "--pass", "weight_pruning", "--levels", "0.5,0.9")
BITS = ("--model", "lenet-digits", "--data", "digits", "--pass", "linear_quantization", "--levels", "8,4,3,2")


def test_the_folder_has_curves_a_page_and_a_recipe(tinyml: Run, digits_checkpoint: Path, tmp_path: Path) -> None:
    output = tmp_path / "scan"
    outcome = tinyml("sensitivity", digits_checkpoint, *OPTIONS, "--sparsity", "0.7", "-o", output, "--json")
    result = json.loads(outcome.out)
    curves = json.loads((output / "sensitivity.json").read_text(encoding="utf-8"))
    assert (outcome.code, [curve["name"] for curve in curves["curves"]]) == (
        0,
        ["conv1", "conv2", "linear1", "linear2"],
    )
    assert {"output": str(output), **curves} == result
    assert "<svg" in (output / "sensitivity.html").read_text(encoding="utf-8")
    recipe = load_recipe(str(output / "recipe.yaml"))
    assert [entry.name for entry in recipe.passes] == ["weight_pruning", "fine_tuning"]
    layers = recipe.passes[0].settings.layers  # type: ignore[attr-defined]  # of WeightPruning
    assert {name: own.sparsity for name, own in layers.items()} == result["choice"]["levels"]


@pytest.mark.slow
def test_the_recipe_removes_the_share_that_was_asked_for(tinyml: Run, digits_checkpoint: Path, tmp_path: Path) -> None:
    scan, run = tmp_path / "scan", tmp_path / "run"
    tinyml("sensitivity", digits_checkpoint, *OPTIONS, "--sparsity", "0.7", "-o", scan)
    options = ("--model", "lenet-digits", "--data", "digits", "--recipe", scan / "recipe.yaml", "-o", run)
    assert tinyml("compress", digits_checkpoint, *options, "--set", "passes.1.epochs=1").code == 0
    layers = json.loads(tinyml("inspect", run, "--json").out)["layers"]
    zeros = sum(layer["zeros"] for layer in layers) / sum(layer["weights"] for layer in layers)
    assert zeros == pytest.approx(0.7, abs=1e-4)  # sparsities are rounded to that


def test_the_table_has_a_row_a_layer_and_the_unchanged_score(
    tinyml: Run, digits_checkpoint: Path, tmp_path: Path
) -> None:
    out = tinyml("sensitivity", digits_checkpoint, *OPTIONS, "-o", tmp_path / "scan").out
    assert "Unchanged: accuracy" in out
    assert "n = 300" in out
    assert [line.split()[:2] for line in out.splitlines() if line.startswith(" linear")] == [
        ["linear1", "32,768"],
        ["linear2", "640"],
    ]


def test_ctrl_c_keeps_what_is_known_and_resume_ends_in_the_same_curves(
    tinyml: Run, digits_checkpoint: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    undisturbed, output = tmp_path / "a", tmp_path / "b"
    tinyml("sensitivity", digits_checkpoint, *OPTIONS, "-o", undisturbed)
    original = measure.results_here

    def interrupted(*arguments: Any) -> Any:
        for number, result in enumerate(original(*arguments)):
            if number == 3:
                raise KeyboardInterrupt
            yield result

    with monkeypatch.context() as patch:
        patch.setattr(measure, "results_here", interrupted)
        outcome = tinyml("sensitivity", digits_checkpoint, *OPTIONS, "-o", output)
    assert (outcome.code, (output / "sensitivity.json").exists()) == (130, False)
    assert "--resume continues" in outcome.err
    assert "--resume to go on" in tinyml("sensitivity", digits_checkpoint, *OPTIONS, "-o", output).err
    changed = tinyml("sensitivity", digits_checkpoint, *OPTIONS, "--exclude", "conv1", "-o", output, "--resume")
    assert (changed.code, "exclude was , is conv1" in changed.err) == (2, True)
    assert tinyml("sensitivity", digits_checkpoint, *OPTIONS, "-o", output, "--resume").code == 0
    assert (output / "sensitivity.json").read_bytes() == (undisturbed / "sensitivity.json").read_bytes()


def test_a_finished_scan_is_shown_again_without_work(
    tinyml: Run, digits_checkpoint: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    command = ("sensitivity", digits_checkpoint, *OPTIONS, "-o", tmp_path / "scan", "--json")
    first = tinyml(*command)
    monkeypatch.setattr(measure, "results_here", None)
    assert tinyml(*command, "--resume").out == first.out


@pytest.mark.parametrize(
    ("options", "message"),
    [
        pytest.param(["--pass", "weight_prunin"], "Did you mean 'weight_pruning'", id="a misspelt pass"),
        pytest.param(["--levels", "0.5,1.5"], "1.5 is not above 0 and below 1", id="a level beyond all"),
        pytest.param(["--levels", "much"], "such as 0.5,0.7", id="levels that are no numbers"),
        pytest.param(["--sparsity", "0.95"], "more than every layer at the highest level", id="too much"),
        pytest.param(["--sparsity", "1"], "--sparsity", id="everything"),
        pytest.param(["--include", "conv9"], "Did you mean 'conv", id="no such layer"),
        pytest.param(
            ["--pass", "linear_quantization", "--levels", "4", "--sparsity", "0.5"], "leave it out", id="no sparsity"
        ),
        pytest.param(["--budget-bytes", "1000"], "a pruning pass takes --sparsity", id="bytes of a pruning pass"),
        pytest.param([*BITS[4:], "--budget-bytes", "1000", "--budget-drop-points", "1"], "give one", id="two budgets"),
        pytest.param([*BITS[4:], "--budget-bytes", "1000", "--target", "cuda"], "no integer kernels", id="no kernels"),
    ],
)
def test_a_request_that_cannot_work_is_refused_in_one_line(
    tinyml: Run, digits_checkpoint: Path, tmp_path: Path, options: list[str], message: str
) -> None:
    outcome = tinyml("sensitivity", digits_checkpoint, *OPTIONS, "-o", tmp_path / "scan", *options)
    assert (outcome.code, outcome.err.count("\n"), list(tmp_path.iterdir())) == (2, 1, [])
    assert message in outcome.err


def test_a_budget_of_bytes_makes_a_recipe_of_bits(tinyml: Run, digits_checkpoint: Path, tmp_path: Path) -> None:
    scan = tmp_path / "scan"
    outcome = tinyml("sensitivity", digits_checkpoint, *BITS, "--budget-bytes", "20000", "-o", scan, "--json")
    written = json.loads((scan / "sensitivity.json").read_text(encoding="utf-8"))
    choice = json.loads(outcome.out)["choice"]
    assert (outcome.code, choice["predicted"]["size_bytes"] <= 20000, written["choice"]) == (0, True, choice)
    assert set(choice["uniform"]) == {"8", "4", "3", "2"}
    assert "Bits of a weight" in (scan / "sensitivity.html").read_text(encoding="utf-8")
    settings = load_recipe(str(scan / "recipe.yaml")).passes[0].settings
    layers = settings.layers  # type: ignore[attr-defined]  # of LinearQuantization
    assert {name: own.weight_bits for name, own in layers.items()} == choice["levels"]


@pytest.mark.slow
@pytest.mark.parametrize("pass_name", ["linear_quantization", "kmeans_quantization"])
@pytest.mark.parametrize("budget", [("--budget-bytes", "20000"), ("--budget-drop-points", "2")])
def test_the_recipe_of_a_budget_makes_a_file_of_just_the_bytes_that_were_told(
    tinyml: Run, digits_checkpoint: Path, tmp_path: Path, pass_name: str, budget: tuple[str, str]
) -> None:
    scan, run = tmp_path / "scan", tmp_path / "run"
    command = ("sensitivity", digits_checkpoint, *BITS, "--pass", pass_name, *budget, "--seed", "3", "--images", "100")
    command += ("-o", scan, "--json")
    outcome = tinyml(*command)
    assert tinyml(*command, "--resume").out == outcome.out
    options = ("--model", "lenet-digits", "--data", "digits", "--recipe", scan / "recipe.yaml", "-o", run)
    assert tinyml("compress", digits_checkpoint, *options).code == 0
    told = json.loads(outcome.out)["choice"]["predicted"]["size_bytes"]
    assert (run / "model.onnx").stat().st_size == told


def test_a_budget_that_cannot_be_met_is_told_with_the_best_there_is_and_the_curves_are_kept(
    tinyml: Run, digits_checkpoint: Path, tmp_path: Path
) -> None:
    scan = tmp_path / "scan"
    command = ("sensitivity", digits_checkpoint, *BITS, "--budget-bytes", "1000", "-o", scan)
    outcome = tinyml(*command)
    assert (outcome.code, outcome.err.count("\n")) == (3, 1)
    assert "--budget-bytes 1,000 cannot be met: with the fewest bits" in outcome.err
    written = json.loads((scan / "sensitivity.json").read_text(encoding="utf-8"))
    assert (written["choice"], written["missed"]) == (None, outcome.err.removeprefix("Error: ").rstrip("\n"))
    assert not (scan / "recipe.yaml").exists()
    again = tinyml(*command, "--resume")
    assert (again.code, again.err) == (3, outcome.err)


def test_a_scan_is_no_run_to_verify(tinyml: Run, digits_checkpoint: Path, tmp_path: Path) -> None:
    tinyml("sensitivity", digits_checkpoint, *OPTIONS, "-o", tmp_path / "scan")
    outcome = tinyml("verify", tmp_path / "scan")
    assert (outcome.code, "holds no model.onnx" in outcome.err) == (2, True)


def test_codes_are_refused(tinyml: Run, int8_run: Path, tmp_path: Path) -> None:
    outcome = tinyml("sensitivity", int8_run, "--data", "digits", *OPTIONS[4:], "-o", tmp_path / "scan")
    assert (outcome.code, list(tmp_path.iterdir())) == (2, [])
    assert "codes already: scan the float checkpoint" in outcome.err
