"""The curves of a sensitivity scan as tables and as one HTML page that needs nothing beside it."""

from typing import Final

from markupsafe import Markup

from tinyml.analysis.sensitivity.bits import BitChoice
from tinyml.analysis.sensitivity.budget import Choice
from tinyml.analysis.sensitivity.curves import LayerCurve, Sensitivity, level_text
from tinyml.measure.statistics import wilson_interval
from tinyml.report.bit_choice import (
    LAYER_COLUMNS,
    UNIFORM_COLUMNS,
    bit_bars,
    bit_choice_text,
    layer_rows,
    uniform_rows,
)
from tinyml.report.html import render_html
from tinyml.report.left_alone import by_reason
from tinyml.report.line_chart import LineChart, Series, line_chart
from tinyml.report.units import points_text, range_text, share_text

_SHOWN_TOGETHER: Final = 6


def sensitivity_columns(sensitivity: Sensitivity, choice: Choice | BitChoice | None) -> list[str]:
    """Return the heads of the table: layer, size, a column a level, and what was chosen."""
    levels = [level_text(level, sensitivity.quantity) for level in sensitivity.curves[0].levels]
    size = "channels" if sensitivity.pass_name == "channel_pruning" else "weights"
    return ["layer", size, *levels, *(["chosen"] if choice else [])]


def sensitivity_rows(sensitivity: Sensitivity, choice: Choice | BitChoice | None) -> list[list[str]]:
    """Return a row for each layer, the scores in the order of the levels."""
    return [
        [
            curve.name or sensitivity.model,
            f"{curve.size:,}",
            *(_score(sensitivity, score) for score in curve.scores),
            *([level_text(choice.levels[curve.name], sensitivity.quantity)] if choice else []),
        ]
        for curve in sensitivity.curves
    ]


def unchanged_text(sensitivity: Sensitivity) -> str:
    """Return the score of the network as it is, with n and, of an accuracy, its 95 % interval."""
    said = f"{sensitivity.score} {_score(sensitivity, sensitivity.unchanged)}, n = {sensitivity.n:,}"
    if sensitivity.score != "accuracy":
        return said
    low, high = wilson_interval(round(sensitivity.unchanged * sensitivity.n), sensitivity.n)
    return f"{said}, 95 % interval {range_text(low, high, 'share', sensitivity.n)}"


def choice_text(sensitivity: Sensitivity, choice: Choice | BitChoice) -> str:
    """Return what was chosen, how, and what the curves promise."""
    if isinstance(choice, BitChoice):
        return bit_choice_text(sensitivity, choice)
    drop = points_text(-choice.predicted_drop, sensitivity.n)
    return (
        f"{level_text(choice.sparsity, sensitivity.quantity)} of all: each layer's level by the points that its curve "
        f"loses for what it saves (lower convex hulls, the cheapest piece first). Added up, before training: {drop}. "
        "That losses add up is an assumption; measure the result."
    )


def render_sensitivity(
    sensitivity: Sensitivity, *, choice: Choice | BitChoice | None = None, recipe_yaml: str = "", command: str = ""
) -> str:
    """Return the page as HTML text."""
    worst = sorted(sensitivity.curves, key=lambda curve: curve.lowest)[:_SHOWN_TOGETHER]
    kept = [curve for curve in sensitivity.curves if curve in worst]
    return render_html(
        "sensitivity.html.jinja",
        title=f"Sensitivity to {sensitivity.pass_name}",
        kicker="tinyml sensitivity",
        subject=f"{sensitivity.model}, on {sensitivity.data}",
        overview=Markup(line_chart(_chart(sensitivity, "Lowest curves", kept))),
        drawings=[
            Markup(line_chart(_chart(sensitivity, curve.name or sensitivity.model, [curve])))
            for curve in sensitivity.curves
        ],
        unchanged=unchanged_text(sensitivity),
        columns=sensitivity_columns(sensitivity, choice),
        rows=sensitivity_rows(sensitivity, choice),
        budget=choice_text(sensitivity, choice) if choice else "",
        bits=_bits(sensitivity, choice) if isinstance(choice, BitChoice) else None,
        recipe_yaml=recipe_yaml,
        notes=sensitivity.notes,
        left_alone=by_reason(sensitivity.left_alone),
        command=command,
    )


def _bits(sensitivity: Sensitivity, choice: BitChoice) -> dict[str, object]:
    """Return the drawing and the two tables of a choice of bits."""
    return {
        "bars": Markup(bit_bars(sensitivity, choice)),
        "tables": [
            (LAYER_COLUMNS, layer_rows(sensitivity, choice)),
            (UNIFORM_COLUMNS, uniform_rows(sensitivity, choice)),
        ],
    }


def _chart(sensitivity: Sensitivity, title: str, curves: list[LayerCurve]) -> LineChart:
    """Return one layer's curve beside the unchanged score, or several curves; all charts of a page have one scale."""
    factor, unit = (100.0, ", %") if sensitivity.score == "accuracy" else (1.0, "")
    bits = sensitivity.quantity == "bits"
    levels = [level if bits else 100 * level for level in curves[0].levels]
    unchanged = factor * sensitivity.unchanged
    lines = [
        Series(
            name=curve.name or sensitivity.model,
            x=tuple(levels),
            y=tuple(factor * score for score in curve.scores),
            role="after" if len(curves) == 1 else "other",
        )
        for curve in curves
    ]
    as_it_is = Series(name="unchanged", x=(min(levels), max(levels)), y=(unchanged, unchanged), role="before")
    return LineChart(
        title=title,
        x_label="bits of a weight" if bits else "sparsity, %",
        y_label=f"{sensitivity.score} on validation data{unit}",
        series=(as_it_is, *lines),
        whole_x=bits,
        y_shows=(unchanged, factor * min(curve.lowest for curve in sensitivity.curves)),
    )


def _score(sensitivity: Sensitivity, score: float) -> str:
    return share_text(score, sensitivity.n) if sensitivity.score == "accuracy" else f"{score:.4f}"
