"""Runs of one network, compressed in several ways, side by side."""

import csv
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

Run = Callable[..., Any]
WAYS = {
    "kmeans": "[{kmeans_quantization: {bits: 3}}]",
    "sparse": "[{weight_pruning: {sparsity: 0.8}}]",
    "both": "[{weight_pruning: {sparsity: 0.8}}, {kmeans_quantization: {bits: 3}}]",
}


@pytest.fixture(scope="module")
def runs(once: Callable[..., Path], digits_checkpoint: Path, int8_run: Path) -> list[Path]:
    """The digits' network in int8, with few values, with many zeros, and with both; not trained further."""
    from tinyml.cli import main

    def compress(folder: Path) -> None:
        folder.mkdir()
        for name, passes in WAYS.items():
            recipe = folder / f"{name}.yaml"
            recipe.write_text(f"version: 1\nname: {name}\npasses: {passes}\n")
            options = ("--model", "lenet-digits", "--data", "digits", "--recipe", str(recipe), "-q")
            assert main(["compress", str(digits_checkpoint), *options, "-o", str(folder / name)]) == 0

    folder = once("ways", compress)
    return [int8_run, *(folder / name for name in WAYS)]


def test_every_way_is_a_row_and_smaller_than_the_baseline(tinyml: Run, runs: list[Path]) -> None:
    rows = list(csv.DictReader(tinyml("compare", *runs, "--csv").out.splitlines()))
    assert [row["kind"] for row in rows] == ["linear", "k-means", "sparse", "sparse, k-means"]
    bits = [float(row["bits_per_weight"]) for row in rows]
    # Codes; indices; a mask and 20 % of the floats; a mask and 20 % of the indices. Scales and biases come on top.
    assert [bit - least for bit, least in zip(bits, (8, 3, 1 + 0.2 * 32, 1 + 0.2 * 3), strict=True)] == [
        pytest.approx(0.25, abs=0.25)
    ] * 4
    assert {row["baseline"] for row in rows} == {rows[0]["baseline"]}
    assert all(float(row["size_share"]) < 0.5 for row in rows)


def test_the_page_draws_a_series_for_each_way(tinyml: Run, runs: list[Path], tmp_path: Path) -> None:
    page = tmp_path / "page.html"
    assert tinyml("compare", *runs, "-o", page).code == 0
    text = page.read_text(encoding="utf-8")
    for kind in ("linear", "k-means", "sparse", "sparse, k-means"):
        assert text.count(f"<g><title>{kind}</title>") == 2
    assert text.count("<g><title>Pareto front</title>") == 2


def test_a_run_that_goes_on_from_another_has_its_baseline(tinyml: Run, runs: list[Path], tmp_path: Path) -> None:
    recipe = tmp_path / "half.yaml"
    recipe.write_text("version: 1\nname: half\npasses: [half_precision]\n")
    sparse = runs[2]
    tinyml("compress", sparse, "--data", "digits", "--recipe", recipe, "-o", tmp_path / "half", "-q")
    (group,) = json.loads(tinyml("compare", sparse, tmp_path / "half", "--json").out)["groups"]
    assert [run["kind"] for run in group["runs"]] == ["sparse", "sparse, float16"]
    assert [run["passes"] for run in group["runs"]] == [["weight_pruning sparsity=0.8"], ["half_precision"]]


@pytest.mark.slow
def test_difficulty_tells_who_was_lost(tinyml: Run, runs: list[Path], digits_checkpoint: Path, tmp_path: Path) -> None:
    options = ("--model", "lenet-digits", "--data", "digits", "-q")
    assert tinyml("difficulty", digits_checkpoint, *options, "-o", tmp_path / "difficulty").code == 0
    asked = ("--difficulty", tmp_path / "difficulty", "--data", "digits", "--remeasure", "--json")
    facts = json.loads(tinyml("compare", *runs, *asked).out)
    for run in facts["groups"][0]["runs"]:
        found, measured = facts["churn"][run["label"]], run["measurements"]["model"]["accuracy_difference"]
        assert found["total"]["lost"] == sum(row["lost"] for row in found["by_depth"]) == measured["details"]["lost"]
    assert len(facts["timed_together"]) == 1 + len(runs)
    assert facts["notes"] == []  # the depths are those of the baseline
