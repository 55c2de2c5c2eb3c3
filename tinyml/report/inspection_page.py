"""The weights of a network as a table and as one HTML page: bars per layer, and a histogram of each layer."""

from collections.abc import Callable
from typing import Final

from markupsafe import Markup

from tinyml.analysis.inspection import Inspection, LayerFacts
from tinyml.analysis.weights import histogram_pairs
from tinyml.report.html import render_html
from tinyml.report.layer_bars import LayerBar, layer_bars
from tinyml.report.tables import shape_text
from tinyml.report.units import bytes_text, count_text, significant
from tinyml.report.weight_histograms import single_histogram, weight_histogram

COLUMNS: Final = (
    "layer",
    "kind",
    "shape",
    "weights",
    "zeros",
    "distinct",
    "lowest",
    "highest",
    "deviation",
    "stored",
    "bytes",
)
NUMBERS: Final = ("weights", "zeros", "distinct", "lowest", "highest", "deviation", "bytes")
_TALL: Final = 30
_BARS: Final[tuple[tuple[str, Callable[[LayerFacts], float], Callable[[float], str]], ...]] = (
    ("Weights", lambda layer: layer.weights, count_text),
    ("Zeros, share of the layer", lambda layer: layer.zero_share, lambda share: f"{100 * share:.1f} %"),
    ("Distinct values (centroids)", lambda layer: layer.distinct, count_text),
)


def inspection_rows(inspection: Inspection) -> list[list[str]]:
    """Return a row for each layer, in the order of COLUMNS."""
    return [
        [
            layer.name,
            layer.kind,
            shape_text(layer.shape),
            f"{layer.weights:,}",
            f"{100 * layer.zero_share:.1f} %",
            f"{layer.distinct:,}",
            significant(layer.lowest),
            significant(layer.highest),
            significant(layer.deviation),
            layer.stored + (f", {layer.not_finite:,} NaN or Inf" if layer.not_finite else ""),
            bytes_text(layer.size_bytes),
        ]
        for layer in inspection.layers
    ]


def totals_text(inspection: Inspection) -> str:
    """Return the sums over all layers, and what stands beside them."""
    layers = inspection.layers
    weights, zeros = sum(layer.weights for layer in layers), sum(layer.zeros for layer in layers)
    return (
        f"{len(layers)} layers, {weights:,} weights, {zeros:,} of them zero ({100 * zeros / weights:.1f} %), "
        f"{bytes_text(sum(layer.size_bytes for layer in layers))}; {inspection.others:,} other parameters "
        "(biases, normalizations)."
    )


def render_inspection(inspection: Inspection, baseline: Inspection | None = None) -> str:
    """Return the page as HTML text; with the uncompressed network beside it where there is one."""
    pairs = histogram_pairs(baseline.weights if baseline else {}, inspection.weights)
    draw = weight_histogram if baseline else single_histogram
    return render_html(
        "inspection.html.jinja",
        title="Weights",
        kicker="tinyml inspect",
        subject=inspection.subject + (f", beside {baseline.subject}" if baseline else ""),
        bars=[Markup(_bars(inspection, baseline, *kind)) for kind in _BARS],
        tall=len(inspection.weights) > _TALL,
        columns=COLUMNS,
        rows=inspection_rows(inspection),
        totals=totals_text(inspection),
        histograms=[Markup(draw(pair)) for pair in pairs],
    )


def _bars(
    inspection: Inspection,
    baseline: Inspection | None,
    title: str,
    value: Callable[[LayerFacts], float],
    written: Callable[[float], str],
) -> str:
    before = {layer.name: value(layer) for layer in baseline.layers} if baseline else {}
    bars = [LayerBar(name=layer.name, before=before.get(layer.name), after=value(layer)) for layer in inspection.layers]
    return layer_bars(title, bars, written, compared=baseline is not None)
