"""A recipe in a few words."""

from pathlib import Path

import pytest

from tinyml.errors import RecipeError
from tinyml.pipeline.passes_in_short import passes_in_short
from tinyml.recipe import load_recipe, resolved_yaml

RECIPE = """\
version: 1
name: some
passes:
  - weight_pruning: {structure: {keep: 2, of: 4}}
  - fine_tuning: {epochs: 3, channels_last: false, distill: {temperature: 2.0}}
  - kmeans_quantization: {bits: 4}
  - linear_quantization
"""


def test_the_first_setting_and_what_is_unusual_is_said(tmp_path: Path) -> None:
    (tmp_path / "short.yaml").write_text(RECIPE)
    resolved = tmp_path / "recipe.yaml"
    resolved.write_text(resolved_yaml(load_recipe(str(tmp_path / "short.yaml"))))
    assert passes_in_short(resolved) == (
        "weight_pruning sparsity=0.5 structure={keep:2,of:4}",
        "fine_tuning epochs=3 channels_last=false distill",
        "kmeans_quantization bits=4",
        "linear_quantization weight_bits=8",
    )


@pytest.mark.parametrize(
    ("passes", "expected"),
    [
        pytest.param("[]", (), id="no passes"),
        pytest.param("[{own_pass: {strength: 3}}]", ("own_pass",), id="a pass of a Python program"),
        pytest.param("[linear_quantization]", ("linear_quantization",), id="a pass without settings"),
    ],
)
def test_passes_that_are_not_resolved_are_named(tmp_path: Path, passes: str, expected: tuple[str, ...]) -> None:
    (tmp_path / "recipe.yaml").write_text(f"version: 1\nname: some\npasses: {passes}\n")
    assert passes_in_short(tmp_path / "recipe.yaml") == expected


@pytest.mark.parametrize("text", ["- a\n- list\n", "passes: 3\n", "passes: [\n"])
def test_what_is_no_recipe_is_refused(tmp_path: Path, text: str) -> None:
    (tmp_path / "recipe.yaml").write_text(text)
    with pytest.raises(RecipeError):
        passes_in_short(tmp_path / "recipe.yaml")
