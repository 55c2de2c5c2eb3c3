"""`tinyml compress` with a wrong recipe, target, card or data: one line, exit code 2, no output."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from tinyml.runtime.session import available_providers
from tinyml.target import load_target, target_yaml

Run = Callable[..., Any]

RECIPE = "version: 1\nname: mine\npasses:\n  - linear_quantization: {weight_bits: 8}\n"
CARD = """\
version: 1
name: squares
task: classification
kind: npz
train: train.npz
test: test.npz
mean: [0.5]
std: [0.25]
classes: 10
"""
FLOATS = CARD.replace("mean: [0.5]\nstd: [0.25]\n", "")


@pytest.fixture
def compress(tinyml: Run, digits_checkpoint: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    """Run compress in tmp_path with these files changed, and return what it says when it refuses."""
    monkeypatch.chdir(tmp_path)

    def refused(*more: str | Path, recipe: str = "int8", target: str = "x86-avx2", data: str = "digits") -> str:
        before = sorted(tmp_path.rglob("*"))
        own = ("--model", "lenet-digits", "--data", data, "--recipe", recipe, "--target", target)
        told = tinyml("compress", digits_checkpoint, *own, "-o", "out", *more)
        assert (told.code, told.out, told.err.count("\n")) == (2, "", 1), told.err
        assert told.err.startswith("Error: ")
        assert sorted(tmp_path.rglob("*")) == before
        return str(told.err)

    return refused


def squares(images: int = 40, **changed: np.ndarray) -> dict[str, np.ndarray]:
    x = np.random.default_rng(0).integers(0, 256, (images, 8, 8, 1)).astype(np.uint8)
    return {"x": x, "y": np.arange(images) % 10, **changed}


@pytest.fixture
def card(tmp_path: Path) -> Callable[..., str]:
    """Write a card and its data; `text` replaces the card, arrays replace those of the train split."""

    def write(text: str = CARD, **train: np.ndarray) -> str:
        floating = "mean" not in text
        test = {"x": np.zeros((40, 1, 8, 8), np.float32)} if floating else {}
        np.savez(tmp_path / "train.npz", **squares(**train))
        np.savez(tmp_path / "test.npz", **squares(**test))
        (tmp_path / "card.yaml").write_text(text, encoding="utf-8")
        return "card.yaml"

    return write


@pytest.mark.parametrize(
    ("text", "place", "message"),
    [
        pytest.param("", "1:1", "is empty", id="empty"),
        pytest.param("- 1\n", "1:1", "must be a mapping", id="a list"),
        pytest.param(RECIPE + "gate: {}\n", "5:1", "Did you mean 'gates'?", id="unknown key"),
        pytest.param(RECIPE + "name: other\n", "5:1", "there twice, first at line 2", id="a key twice"),
        pytest.param(RECIPE.replace("8}", "8, weight_bits: 8}"), "4:43", "there twice", id="a setting twice"),
        pytest.param(RECIPE.replace("8}", '"8"}'), "4:27", 'must be a whole number, not "8"', id="wrong type"),
        pytest.param(RECIPE.replace("8}", "9}"), "4:27", "less than or equal to 8", id="a value that is not allowed"),
        pytest.param(RECIPE.replace("bits:", "bitz:"), "4:27", "Did you mean 'weight_bits'?", id="unknown setting"),
        pytest.param(
            RECIPE.replace("zation", "sation"), "4:5", "Did you mean 'linear_quantization'?", id="unknown pass"
        ),
        pytest.param(RECIPE.replace("  -", "\t-"), "4:1", "a tab; YAML wants spaces", id="a tab"),
    ],
)
def test_a_wrong_recipe_is_refused_with_its_place(
    compress: Run, tmp_path: Path, text: str, place: str, message: str
) -> None:
    (tmp_path / "mine.yaml").write_text(text, encoding="utf-8")
    said = compress(recipe="mine.yaml")
    assert f"mine.yaml:{place}: " in said
    assert message in said


def test_all_faults_of_a_recipe_are_told_together(tinyml: Run, tmp_path: Path, digits_checkpoint: Path) -> None:
    (tmp_path / "mine.yaml").write_text(RECIPE.replace("8}", "9}") + "gate: {}\n", encoding="utf-8")
    told = tinyml(
        "compress",
        digits_checkpoint,
        "--model",
        "lenet-digits",
        "--recipe",
        tmp_path / "mine.yaml",
        "-o",
        tmp_path / "o",
    )
    assert told.code == 2
    assert [line.strip().startswith(("Error: 2 faults", str(tmp_path))) for line in told.err.splitlines()] == [True] * 3


@pytest.mark.parametrize(
    ("override", "message"),
    [
        pytest.param("passes.0.weight_bitz=8", "Did you mean 'weight_bits'?", id="unknown setting"),
        pytest.param("passes.3.weight_bits=8", "there is no 3 in passes", id="no such pass"),
        pytest.param("gates.max_drop_points=-1", "greater than or equal to 0", id="a value that is not allowed"),
        pytest.param("gates", "write KEY=VALUE", id="no value"),
    ],
)
def test_a_wrong_override_is_refused(compress: Run, override: str, message: str) -> None:
    said = compress("--set", override)
    assert f"--set {override}" in said
    assert message in said


@pytest.mark.parametrize(
    ("change", "message"),
    [
        pytest.param(lambda text: "", "is empty", id="empty"),
        pytest.param(lambda text: text + "gpu: 1\n", "gpu: unknown key", id="unknown key"),
        pytest.param(lambda text: text + "opset: 21\n", "there twice", id="a key twice"),
        pytest.param(
            lambda text: text.replace("opset: 21", 'opset: "21"'), 'a whole number, not "21"', id="wrong type"
        ),
        pytest.param(lambda text: text.replace("opset: 21", "opset: 9"), "not 9", id="a value that is not allowed"),
        pytest.param(lambda text: text.replace("  activations", "\tactivations"), "a tab", id="a tab"),
    ],
)
def test_a_wrong_target_is_refused_with_its_place(compress: Run, tmp_path: Path, change, message: str) -> None:
    (tmp_path / "mine.yaml").write_text(change(target_yaml(load_target("x86-avx2"))), encoding="utf-8")
    said = compress(target="mine.yaml")
    assert "mine.yaml:" in said
    assert message in said


@pytest.mark.parametrize(
    ("text", "message"),
    [
        pytest.param("", "is empty", id="empty"),
        pytest.param(CARD + "augmentt: {}\n", "10:1: augmentt: unknown key", id="unknown key"),
        pytest.param(CARD + "test: other.npz\n", "there twice, first at line 6", id="a key twice"),
        pytest.param(CARD.replace("version: 1", "version: one"), 'must be 1, not "one"', id="wrong type"),
        pytest.param(CARD + "augment:\n\tcrop: 1\n", "11:1: a tab", id="a tab"),
        pytest.param(
            CARD.replace("train.npz", "trian.npz"), "Did you mean 'train.npz'?", id="a file that is not there"
        ),
        pytest.param(CARD.replace("train: train.npz\n", ""), "nothing to calibrate on", id="test data alone"),
    ],
)
def test_a_wrong_card_is_refused(compress: Run, card: Callable[..., str], text: str, message: str) -> None:
    assert message in compress(data=card(text))


@pytest.mark.parametrize(
    ("train", "message"),
    [
        pytest.param({"y": np.full(40, 10)}, "40 labels out of range, the first y[0] = 10", id="labels too high"),
        pytest.param({"y": np.full(40, -1)}, "40 labels out of range, the first y[0] = -1", id="labels below 0"),
        pytest.param({"y": np.zeros(40)}, "y is float64", id="labels that are no integers"),
        pytest.param({"y": np.zeros(39, int)}, "40 examples and y has 39 labels", id="too few labels"),
        pytest.param(
            {"x": np.zeros((0, 8, 8, 1), np.uint8), "y": np.zeros(0, int)}, "it holds no data", id="no images"
        ),
        pytest.param({"x": np.zeros((40, 4, 4, 1), np.uint8)}, "(8, 8, 1)", id="images of two sizes"),
        pytest.param({"x": np.array([None] * 40)}, "never unpickled", id="pickled objects"),
    ],
)
def test_wrong_data_is_refused(
    compress: Run, card: Callable[..., str], train: dict[str, np.ndarray], message: str
) -> None:
    assert message in compress(data=card(**train))


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_calibration_data_that_is_not_finite_is_refused(compress: Run, card: Callable[..., str], bad: float) -> None:
    x = np.zeros((40, 1, 8, 8), np.float32)
    x[3, 0, 0, 0] = bad
    assert "x holds 1 NaN or infinite values, the first in x[3]" in compress(data=card(FLOATS, x=x))


@pytest.mark.parametrize(
    ("content", "message"),
    [pytest.param(b"", "is empty", id="empty"), pytest.param(b"PK\x03\x04", "damaged", id="truncated")],
)
def test_a_damaged_data_file_is_refused(
    compress: Run, card: Callable[..., str], tmp_path: Path, content, message
) -> None:
    name = card()
    (tmp_path / "train.npz").write_bytes(content)
    assert message in compress(data=name)


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        pytest.param({"recipe": "int9"}, "Did you mean 'int8'?", id="recipe"),
        pytest.param({"recipe": "none.yaml"}, "there is no such file", id="recipe file"),
        pytest.param({"target": "cud"}, "Did you mean 'cuda'?", id="target"),
        pytest.param({"target": "none.yaml"}, "there is no such file", id="target file"),
        pytest.param({"data": "digit"}, "Did you mean 'digits'?", id="data"),
        pytest.param({"data": "none.yaml"}, "there is no such file", id="card"),
    ],
)
def test_a_name_that_does_not_exist_is_refused_with_the_nearest(compress: Run, changed, message: str) -> None:
    assert message in compress(**changed)


def test_a_missing_extra_is_named_with_its_cure(compress: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import sys

    for part in ("train", "test"):
        for label in range(2):
            (tmp_path / part / str(label)).mkdir(parents=True)
            (tmp_path / part / str(label) / "a.png").write_bytes(b"")
    card = "version: 1\nname: folders\ntask: classification\nkind: image-folder\ntrain: train\ntest: test\n"
    (tmp_path / "card.yaml").write_text(card + "mean: [0, 0, 0]\nstd: [1, 1, 1]\n", encoding="utf-8")
    monkeypatch.setitem(sys.modules, "PIL", None)
    assert "pip install 'tinyml[images]'" in compress(data="card.yaml")


@pytest.mark.skipif("CUDAExecutionProvider" in available_providers(), reason="this onnxruntime has CUDA")
def test_a_target_whose_provider_is_not_here_is_refused(compress: Run) -> None:
    said = compress(recipe="baseline", target="cuda")
    assert "no CUDAExecutionProvider" in said
    assert "onnxruntime-gpu" in said


@pytest.mark.skipif(torch.cuda.is_available(), reason="this machine has CUDA")
def test_a_device_that_is_not_here_is_refused(compress: Run) -> None:
    assert "no device 'cuda' here; allowed: cpu" in compress("--device", "cuda")


def test_int8_for_cuda_is_refused_with_the_cure(compress: Run) -> None:
    said = compress(target="cuda")
    assert "no integer convolution" in said
    assert "Use the recipe fp16" in said


def test_a_gate_that_cannot_be_measured_is_refused(tinyml: Run, digits_checkpoint: Path, tmp_path: Path) -> None:
    own = ("--model", "lenet-digits", "--recipe", "baseline", "--set", "gates.max_drop_points=1")
    told = tinyml("compress", digits_checkpoint, *own, "-o", tmp_path / "out")
    assert (told.code, told.err.count("\n"), list(tmp_path.iterdir())) == (2, 1, [])
    assert "needs a test split" in told.err
