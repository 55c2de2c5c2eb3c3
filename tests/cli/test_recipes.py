import json
from collections.abc import Callable
from pathlib import Path

from tinyml.shipped import shipped_files


def test_the_list_shows_passes_and_what_they_do(tinyml: Callable[..., object]) -> None:
    line = next(line for line in tinyml("recipes").out.splitlines() if line.strip().startswith("int8"))
    assert "linear_quantization" in line
    assert "8-bit integers" in line


def test_the_list_as_json_is_sorted_by_name(tinyml: Callable[..., object]) -> None:
    listed = json.loads(tinyml("recipes", "--json").out)
    assert [recipe["name"] for recipe in listed] == sorted(recipe["name"] for recipe in listed)


def test_a_recipe_is_shown_as_its_file(tinyml: Callable[..., object], project: Path) -> None:
    assert tinyml("recipes", "show", "int8").out == (project / "recipes" / "int8.yaml").read_text(encoding="utf-8")


def test_a_recipe_as_json_has_every_default(tinyml: Callable[..., object]) -> None:
    recipe = json.loads(tinyml("recipes", "show", "int8", "--json").out)
    assert recipe["passes"][0]["linear_quantization"]["calibration"]["images"] == 512


def test_showing_needs_a_name(tinyml: Callable[..., object]) -> None:
    outcome = tinyml("recipes", "show")
    allowed = ", ".join(shipped_files("recipes"))
    assert (outcome.code, outcome.err) == (2, f"Error: show needs a name; allowed: {allowed}\n")


def test_an_unknown_recipe_gets_the_nearest(tinyml: Callable[..., object]) -> None:
    outcome = tinyml("recipes", "show", "int9")
    assert (outcome.code, outcome.err.endswith("Did you mean 'int8'?\n")) == (2, True)
