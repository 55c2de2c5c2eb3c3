"""`tinyml inspect` from the outside."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

Run = Callable[..., Any]


def layers(outcome: Any) -> dict[str, dict[str, Any]]:
    assert outcome.code == 0
    return {layer["name"]: layer for layer in json.loads(outcome.out)["layers"]}


def test_a_checkpoint_is_shown_with_and_without_its_model(tinyml: Run, digits_checkpoint: Path) -> None:
    known = layers(tinyml("inspect", digits_checkpoint, "--model", "lenet-digits", "--json"))
    unknown = layers(tinyml("inspect", digits_checkpoint, "--json"))
    assert list(known) == ["conv1", "conv2", "linear1", "linear2"]
    assert {name: {**layer, "kind": "tensor"} for name, layer in known.items()} == unknown


def test_the_table_ends_with_the_sums(tinyml: Run, digits_checkpoint: Path) -> None:
    out = tinyml("inspect", digits_checkpoint, "--model", "lenet-digits").out
    assert "32 x 16 x 3 x 3" in out
    assert "4 layers, 38,160 weights, 0 of them zero (0.0 %), 149 KiB; 170 other parameters" in out


def test_a_run_is_shown_as_it_ships(tinyml: Run, int8_run: Path) -> None:
    layer = layers(tinyml("inspect", int8_run, "--json"))["conv2"]
    assert (layer["stored"], layer["weights"]) == ("int8", 32 * 16 * 9)
    assert layer["size_bytes"] == 32 * 16 * 9 + 32 * 4  # codes, and a scale for each channel
    assert layer["distinct"] <= 129  # this target's codes are -64..64


def test_the_page_of_a_run_has_both_sides_and_every_layer(tinyml: Run, int8_run: Path, tmp_path: Path) -> None:
    page = tmp_path / "weights.html"
    assert tinyml("inspect", int8_run, "-o", page).code == 0
    text = page.read_text(encoding="utf-8")
    assert text.count("Weights of ") == 4
    assert all(said in text for said in ("before: float32", "after: int8", "Distinct values (centroids)"))


def test_the_page_of_a_checkpoint_has_one_side(tinyml: Run, digits_checkpoint: Path, tmp_path: Path) -> None:
    page = tmp_path / "weights.html"
    tinyml("inspect", digits_checkpoint, "-o", page)
    assert "before" not in page.read_text(encoding="utf-8").partition("<body>")[2]


def test_fresh_weights_are_shown_too(tinyml: Run) -> None:
    assert len(layers(tinyml("inspect", "random", "--model", "resnet20-cifar", "--json"))) == 20


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        pytest.param(["missing.pt"], "There is no file 'missing.pt'", id="a missing file"),
        pytest.param(["."], "holds no model.onnx", id="a folder without a run"),
        pytest.param(["note.txt"], "note.txt", id="no checkpoint"),
        pytest.param(["random", "--model", "lenet-digit"], "Did you mean 'lenet-digits'", id="a misspelt model"),
        pytest.param(["random", "--model", "lenet-digits", "-o", "page.pdf"], "must end in .html", id="no page"),
        pytest.param(["random", "--model", "lenet-digits", "-o", "note.html"], "exists already", id="a page there"),
        pytest.param([".", "--model", "lenet-digits"], "leave --model out", id="a run and a model"),
    ],
)
def test_a_request_that_cannot_work_is_refused_in_one_line(
    tinyml: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, arguments: list[str], message: str
) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("note.txt", "note.html"):
        (tmp_path / name).write_text("a note", encoding="utf-8")
    outcome = tinyml("inspect", *arguments)
    assert (outcome.code, outcome.err.count("\n"), len(list(tmp_path.iterdir()))) == (2, 1, 2)
    assert message in outcome.err
