"""The recipe that gives every layer the level that was chosen for it; behind pruning it trains what is left."""

from collections.abc import Mapping
from glob import escape

from tinyml.analysis.sensitivity.bits import BitChoice, ByteBudget
from tinyml.analysis.sensitivity.budget import Choice
from tinyml.analysis.sensitivity.units import Patterns
from tinyml.passes import Pass
from tinyml.passes.channel_pruning import ChannelPruning
from tinyml.passes.fine_tuning import FineTuning
from tinyml.passes.kmeans_quantization import KmeansQuantization, LayerBits
from tinyml.passes.layer_patterns import LayerSparsity
from tinyml.passes.linear_quantization import LayerSettings, LinearQuantization
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


def bit_recipe_of(pass_name: str, choice: BitChoice, patterns: Patterns) -> Recipe:
    """Return the recipe: the pass alone with bits for every layer that was scanned; their most for any other."""
    budget = choice.budget
    met = f"{budget.most_bytes}-bytes" if isinstance(budget, ByteBudget) else f"{100 * budget.most_drop:g}-points"
    bits = {layer: int(level) for layer, level in choice.levels.items()}
    settings = quantization(pass_name, max(bits.values()), bits, patterns)
    return Recipe(name=f"{pass_name}-{met}-by-sensitivity", passes=(PassEntry(name=pass_name, settings=settings),))


def quantization(pass_name: str, bits: int, layers: Mapping[str, int], patterns: Patterns) -> Pass:
    """Return linear_quantization or kmeans_quantization to so many bits, some layers (by name) to bits of their own."""
    own = {escape(layer): number for layer, number in layers.items()}
    if pass_name == "kmeans_quantization":
        return KmeansQuantization(
            bits=bits,
            include=patterns.include,
            exclude=patterns.exclude,
            layers={layer: LayerBits(bits=number) for layer, number in own.items()},
        )
    return LinearQuantization(
        weight_bits=bits,
        include=patterns.include,
        exclude=patterns.exclude,
        layers={layer: LayerSettings(weight_bits=number) for layer, number in own.items()},
    )


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
