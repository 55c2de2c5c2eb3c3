"""The recipe of a choice."""

from pathlib import Path

import pytest

from tinyml.analysis.sensitivity.bits import BitChoice, Budget, ByteBudget, DropBudget, Prediction
from tinyml.analysis.sensitivity.budget import Choice
from tinyml.analysis.sensitivity.recipe import bit_recipe_of, recipe_of
from tinyml.analysis.sensitivity.units import Patterns
from tinyml.passes.kmeans_quantization import KmeansQuantization
from tinyml.passes.linear_quantization import LinearQuantization
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


def of_bits(budget: Budget) -> BitChoice:
    predicted = Prediction(size_bytes=900, divergence=0.1, drop=0.01, beyond=False)
    return BitChoice(budget=budget, levels={"conv1": 5.0, "stages.0[a]": 2.0}, predicted=predicted, uniform={})


@pytest.mark.parametrize("pass_name", ["linear_quantization", "kmeans_quantization"])
@pytest.mark.parametrize(
    ("budget", "name"), [(ByteBudget(most_bytes=1000), "1000-bytes"), (DropBudget(most_drop=0.015), "1.5-points")]
)
def test_a_recipe_of_bits_is_read_back_as_it_was_written(
    pass_name: str, budget: Budget, name: str, tmp_path: Path
) -> None:
    recipe = bit_recipe_of(pass_name, of_bits(budget), Patterns(exclude=("head",)))
    file = tmp_path / "recipe.yaml"
    file.write_text(resolved_yaml(recipe), encoding="utf-8")
    assert load_recipe(str(file)) == recipe
    assert recipe.name == f"{pass_name}-{name}-by-sensitivity"


def test_every_layer_has_its_bits_and_others_the_most() -> None:
    choice = of_bits(ByteBudget(most_bytes=1000))
    linear = bit_recipe_of("linear_quantization", choice, Patterns()).passes[0].settings
    kmeans = bit_recipe_of("kmeans_quantization", choice, Patterns()).passes[0].settings
    assert isinstance(linear, LinearQuantization)
    assert isinstance(kmeans, KmeansQuantization)
    assert {name: own.weight_bits for name, own in linear.layers.items()} == {"conv1": 5, "stages.0[[]a]": 2}
    assert {name: own.bits for name, own in kmeans.layers.items()} == {"conv1": 5, "stages.0[[]a]": 2}
    assert (linear.weight_bits, kmeans.bits) == (5, 5)
