"""The recipe of a choice."""

from pathlib import Path

import pytest

from tinyml.analysis.sensitivity.budget import Choice
from tinyml.analysis.sensitivity.recipe import recipe_of
from tinyml.analysis.sensitivity.units import Patterns
from tinyml.recipe import load_recipe, resolved_yaml

CHOICE = Choice(sparsity=0.725, levels={"conv1": 0.0, "stages.0[a]": 0.8125}, predicted_drop=0.1)


@pytest.mark.parametrize("pass_name", ["weight_pruning", "channel_pruning"])
def test_it_is_read_back_as_it_was_written(pass_name: str, tmp_path: Path) -> None:
    recipe = recipe_of(pass_name, CHOICE, Patterns(exclude=("head",)))
    file = tmp_path / "recipe.yaml"
    file.write_text(resolved_yaml(recipe), encoding="utf-8")
    assert load_recipe(str(file)) == recipe
    assert recipe.name == f"{pass_name}-72.5-by-sensitivity"


def test_every_layer_has_its_level_and_names_are_no_patterns() -> None:
    settings = recipe_of("weight_pruning", CHOICE, Patterns(exclude=("head",))).passes[0].settings
    layers = settings.layers  # type: ignore[attr-defined]  # of WeightPruning
    assert {name: own.sparsity for name, own in layers.items()} == {"conv1": 0.0, "stages.0[[]a]": 0.8125}
    assert settings.exclude == ("head",)  # type: ignore[attr-defined]
