"""The recipe that gives every layer the level that was chosen for it, and trains what is left."""

from glob import escape

from tinyml.analysis.sensitivity.budget import Choice
from tinyml.analysis.sensitivity.units import Patterns
from tinyml.passes import Pass
from tinyml.passes.channel_pruning import ChannelPruning
from tinyml.passes.fine_tuning import FineTuning
from tinyml.passes.layer_patterns import LayerSparsity
from tinyml.passes.weight_pruning import WeightPruning
from tinyml.recipe import PassEntry, Recipe


def recipe_of(pass_name: str, choice: Choice, patterns: Patterns) -> Recipe:
    """Return the recipe: the pass with a level for every layer that was scanned, then fine_tuning."""
    name = f"{pass_name}-{round(100 * choice.sparsity, 2):g}-by-sensitivity"
    entries = (
        PassEntry(name=pass_name, settings=_settings(pass_name, choice, patterns)),
        PassEntry(name="fine_tuning", settings=FineTuning()),
    )
    return Recipe(name=name, passes=entries)


def _settings(pass_name: str, choice: Choice, patterns: Patterns) -> Pass:
    levels = {escape(layer): level for layer, level in choice.levels.items()}
    if pass_name == "channel_pruning":
        return ChannelPruning(
            sparsity=choice.sparsity,
            include=patterns.include,
            exclude=patterns.exclude,
            layers={layer: LayerSparsity(sparsity=level) for layer, level in levels.items()},
        )
    return WeightPruning(
        sparsity=choice.sparsity,
        scope="uniform",
        include=patterns.include,
        exclude=patterns.exclude,
        layers={layer: LayerSparsity(sparsity=level) for layer, level in levels.items()},
    )
