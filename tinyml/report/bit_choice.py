"""Bits chosen for a budget, in words and as tables: layer by layer, and beside the same bits for all layers."""

from tinyml.analysis.sensitivity.bits import BitChoice, ByteBudget, Prediction
from tinyml.analysis.sensitivity.curves import LayerCurve, Sensitivity
from tinyml.report.layer_bars import LayerBar, layer_bars
from tinyml.report.units import points_text, significant

LAYER_COLUMNS = ("layer", "weights", "bits", "bytes", "divergence", "alone")
UNIFORM_COLUMNS = ("bits", "bytes of the file", "divergence", "predicted")


def bit_choice_text(sensitivity: Sensitivity, choice: BitChoice) -> str:
    """Return what was asked for, what the scan predicts of it, and what it predicts of the uniform bits beside it."""
    budget, beside = choice.budget, choice.uniform[choice.beside]
    if isinstance(budget, ByteBudget):
        asked = f"At most {budget.most_bytes:,} bytes"
    else:
        asked = f"At most {100 * budget.most_drop:g} points lost"
    assert sensitivity.file is not None  # a choice of bits needs it
    return (
        f"{asked}: {_predicted(sensitivity, choice.predicted)}. {choice.beside} bits for all layers: "
        f"{_predicted(sensitivity, beside)}. The file is that of target {sensitivity.file.target}; activations are in "
        "float here, and divergences of layers are added up: measure the result on data that chose nothing."
    )


def bit_bars(sensitivity: Sensitivity, choice: BitChoice) -> str:
    """Return a bar for each layer's bits."""
    bars = [
        LayerBar(name=curve.name or sensitivity.model, before=None, after=choice.levels[curve.name])
        for curve in sensitivity.curves
    ]
    return layer_bars("Bits of a weight", bars, lambda bits: f"{bits:.0f} bit", compared=False)


def layer_rows(sensitivity: Sensitivity, choice: BitChoice) -> list[list[str]]:
    """Return a row for each layer, under LAYER_COLUMNS: what its bits cost and lose, all others unchanged."""
    return [_layer_row(sensitivity, curve, choice.levels[curve.name]) for curve in sensitivity.curves]


def uniform_rows(sensitivity: Sensitivity, choice: BitChoice) -> list[list[str]]:
    """Return the choice, then the same bits for all layers, under UNIFORM_COLUMNS."""
    rows = [("by layer", choice.predicted), *((f"{bits} for all", each) for bits, each in choice.uniform.items())]
    return [
        [name, f"{each.size_bytes:,}", significant(each.divergence), _points(sensitivity, each)] for name, each in rows
    ]


def _layer_row(sensitivity: Sensitivity, curve: LayerCurve, level: float) -> list[str]:
    place = curve.levels.index(level)
    return [
        curve.name or sensitivity.model,
        f"{curve.size:,}",
        f"{level:.0f}",
        f"{curve.stored_bytes[place]:,}",
        significant(curve.divergences[place]),
        points_text(curve.scores[place] - sensitivity.unchanged, sensitivity.n),
    ]


def _predicted(sensitivity: Sensitivity, prediction: Prediction) -> str:
    return f"{prediction.size_bytes:,} bytes and {_points(sensitivity, prediction)} by prediction"


def _points(sensitivity: Sensitivity, prediction: Prediction) -> str:
    return ("at least " if prediction.beyond else "") + points_text(-prediction.drop, sensitivity.n)
