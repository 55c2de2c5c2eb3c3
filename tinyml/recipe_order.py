"""Which pass may follow which."""

from collections.abc import Sequence

from tinyml.passes import Pass
from tinyml.passes.early_exit import EarlyExit
from tinyml.passes.fine_tuning import FineTuning
from tinyml.passes.kmeans_quantization import KmeansQuantization
from tinyml.passes.weight_pruning import WeightPruning

# earlier role, later role -> what is wrong; {earlier} and {later} are the names of the passes
RULES: dict[tuple[str, str], str] = {
    ("quantize", "prune"): "{later} would prune after {earlier}, on weights that are codes already; put it before",
    (
        "quantize",
        "exit",
    ): "exits come before quantization, which shifts their confidences; put {later} before {earlier}",
    ("exit", "exit"): "{later} cannot follow {earlier}: let one of them attach all exits",
    ("quantize", "quantize"): "{later} cannot follow {earlier}: the weights are codes already; choose one of them",
    ("quantize", "cast"): "{later} cannot follow {earlier}: the weights are codes already; choose one of them",
    ("cast", "cast"): "{earlier} is the last pass of a recipe; nothing comes after it",
    ("cast", "exit"): "{earlier} is the last pass of a recipe; put {later} before it",
    ("cast", "prune"): "{earlier} is the last pass of a recipe; put {later} before it",
    ("cast", "quantize"): "{earlier} is the last pass of a recipe; choose it or {later}",
    ("cast", "train"): "{earlier} is the last pass of a recipe; put {later} before it",
}

# The same for two passes by name, where the roles do not tell.
PAIRS: dict[tuple[str, str], str] = {
    ("weight_pruning", "channel_pruning"): "{later} would cut masked weights; put it before {earlier}",
}

_RAMP = "weight_pruning prunes on a cubic ramp while a fine_tuning trains"

# Centroids may be rounded to int8 or float16 afterwards; the reverse would destroy them.
ALLOWED = {("kmeans_quantization", "linear_quantization"), ("kmeans_quantization", "half_precision")}


def order_faults(passes: Sequence[tuple[str, str] | None]) -> list[tuple[int, str]]:
    """Return (index, what is wrong) for each pass that must not stand where it does.

    Args:
        passes: (name, role) of each pass; None where the recipe is wrong already.
    """
    faults = []
    for later_index, later in enumerate(passes):
        for earlier in passes[:later_index]:
            if earlier is None or later is None or (earlier[0], later[0]) in ALLOWED:
                continue
            rule = RULES.get((earlier[1], later[1])) or PAIRS.get((earlier[0], later[0]))
            if rule:
                faults.append((later_index, rule.format(earlier=earlier[0], later=later[0])))
                break
    return faults


def unfinished_faults(passes: Sequence[Pass | None]) -> list[tuple[int, str]]:
    """Return (index, what is wrong) for each pass that a training must finish and that none follows.

    Args:
        passes: the settings of each pass; None where the recipe is wrong already.
    """
    faults = [
        (index, "early_exit attaches heads with random weights: put a fine_tuning after it")
        for index, settings in enumerate(passes)
        if isinstance(settings, EarlyExit) and not any(_trains(later) for later in passes[index + 1 :])
    ]
    for index, settings in enumerate(passes):
        if not (isinstance(settings, WeightPruning) and settings.schedule == "cubic"):
            continue
        training = next((at for at in range(index + 1, len(passes)) if _trains(passes[at])), None)
        if training is None:
            faults.append((index, f"{_RAMP}: put one after it, or choose one-shot"))
        faults += [
            (at, f"kmeans_quantization fixes which weights are zero, and {_RAMP}: put one between them")
            for at in range(index + 1, len(passes) if training is None else training)
            if isinstance(passes[at], KmeansQuantization)
        ]
    return faults


def _trains(settings: Pass | None) -> bool:
    """Return whether the pass does steps of training, or may; fine_tuning without epochs does none."""
    if settings is None:
        return True
    return settings.role == "train" and not (isinstance(settings, FineTuning) and settings.epochs == 0)
