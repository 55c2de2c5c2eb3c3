"""The difficulty of examples as tables and as one HTML page that needs nothing beside it."""

from collections.abc import Sequence
from typing import Final

from markupsafe import Markup

from tinyml.analysis.difficulty.exits import macs_saved
from tinyml.analysis.difficulty.summary import DepthRow, Summary
from tinyml.measure.statistics import wilson_interval
from tinyml.report.gallery import ClassGallery
from tinyml.report.html import render_html
from tinyml.report.layer_bars import LayerBar, layer_bars
from tinyml.report.left_alone import by_reason
from tinyml.report.line_chart import LineChart, Series, line_chart
from tinyml.report.units import range_text, share_text

EXITS_SHOWN: Final = 2  # as many as early_exit attaches where nothing else is said
NEVER: Final = "no probe"
"""What the depth behind the last probe is called."""


def layer_columns(summary: Summary) -> list[str]:
    """Return the heads of the table of layers."""
    shares = [f"{name}: probe right" for name in summary.splits]
    return ["depth", "layer", "features", *shares, f"{summary.shown}: decided here", "network right", "95 % interval"]


def layer_rows(summary: Summary) -> list[list[str]]:
    """Return a row for each depth: its probe, how many of the shown split have this depth, and how many are right."""
    shown = summary.splits[summary.shown]
    rows = []
    for depth, row in enumerate(shown.depths):
        layer = summary.layers[depth] if depth < len(summary.layers) else None
        probes = [share_text(each.probes[depth], each.n) if layer else "-" for each in summary.splits.values()]
        rows.append(
            [
                str(depth),
                layer.name if layer else NEVER,
                f"{layer.features:,}" if layer else "-",
                *probes,
                f"{row.n:,} ({share_text(row.n / shown.n)})",
                share_text(row.right / row.n) if row.n else "-",
                range_text(*wilson_interval(row.right, row.n), "share") if row.n else "-",
            ]
        )
    return rows


def overview_text(summary: Summary) -> str:
    """Return how many examples there are, how right the network is, and where the middle of the depths lies."""
    shown = summary.splits[summary.shown]
    low, high = wilson_interval(shown.right, shown.n)
    half = median_depth(shown.depths)
    return (
        f"{summary.shown}: accuracy {share_text(shown.right / shown.n, shown.n)}, n = {shown.n:,}, 95 % interval "
        f"{range_text(low, high, 'share', shown.n)}; median depth {half} of {len(summary.layers)} probes "
        f"({_name(summary, half)})"
    )


def method_text(summary: Summary) -> str:
    """Return how depths came to be."""
    means = (
        "the mean over all positions" if summary.side == 1 else f"means over {summary.side} x {summary.side} regions"
    )
    return (
        f"Probes: the majority of the {summary.neighbours} nearest neighbours among train, {summary.metric} distance "
        f"of features, which of images are {means}; a tie goes to the class of the nearest. An example's depth is the "
        "first probe from which on all give the network's own answer (Baldock et al. 2021), "
        f"{len(summary.layers)} where even the last does not."
    )


def exits_text(summary: Summary) -> str:
    """Return the best places for exits and what they would save, "" where there are none."""
    if not summary.exits:
        return ""
    best = summary.exits[:EXITS_SHOWN]
    places = "; ".join(
        f"{place.name} ({share_text(place.decided)} decided after {share_text(place.macs)} of the MACs)"
        for place in best
    )
    return (
        f"Places for exits, the best first, by the depths of {summary.exits_from}: {places}. If each example left as "
        f"soon as it is decided, these would save {share_text(macs_saved(best))} of the MACs: more than trained heads "
        f"will.{_pixels_text(summary)}"
    )


def _pixels_text(summary: Summary) -> str:
    """Return what becomes of the examples that are decided before any place, "" where there are none."""
    split = summary.splits[summary.exits_from]
    if not (by_pixels := split.depths[0].n):
        return ""
    return (
        f" {share_text(by_pixels / split.n)} are decided by the input alone (depth 0), before any layer: they count "
        "for the earliest place, which is not where they are decided but the first where one can leave."
    )


def c_score_text(summary: Summary) -> str:
    """Return how C-scores go with depth, "" where there are none."""
    if summary.c_score is None:
        return ""
    own = summary.c_score
    rho = "unknown: one of them is the same for all" if own.rank_correlation is None else f"{own.rank_correlation:+.3f}"
    return (
        f"C-score of {own.n:,} examples of train, from {own.runs} trainings of {own.epochs} epochs on random halves: "
        f"rank correlation (Spearman) with prediction depth {rho}."
    )


def median_depth(rows: Sequence[DepthRow]) -> int:
    """Return the depth that half of the examples do not exceed."""
    total, seen = sum(row.n for row in rows), 0
    for depth, row in enumerate(rows):
        seen += row.n
        if 2 * seen >= total:
            return depth
    return len(rows) - 1


def render_difficulty(
    summary: Summary, *, pictures: Sequence[ClassGallery] = (), no_pictures: str = "", command: str = ""
) -> str:
    """Return the page as HTML text."""
    charts = [_accuracy_chart(summary), _margin_chart(summary), _probe_chart(summary)]
    if summary.c_score is not None:
        charts.append(_c_score_chart(summary))
    return render_html(
        "difficulty.html.jinja",
        title="Example difficulty",
        kicker="tinyml difficulty",
        subject=f"{summary.model}, on {summary.data}",
        overview=overview_text(summary),
        histogram=Markup(_histogram(summary)),
        charts=[Markup(line_chart(chart)) for chart in charts],
        columns=layer_columns(summary),
        rows=layer_rows(summary),
        shown=summary.shown,
        pictures=pictures,
        no_pictures=no_pictures,
        method=method_text(summary),
        exits=exits_text(summary),
        c_score=c_score_text(summary),
        notes=summary.notes,
        left_alone=by_reason(summary.left_alone),
        command=command,
    )


def _name(summary: Summary, depth: int) -> str:
    return summary.layers[depth].name if depth < len(summary.layers) else NEVER


def _histogram(summary: Summary) -> str:
    shown = summary.splits[summary.shown]
    bars = [
        LayerBar(name=f"{depth} {_name(summary, depth)}", before=None, after=row.n / shown.n)
        for depth, row in enumerate(shown.depths)
    ]
    return layer_bars(f"Examples of {summary.shown} by prediction depth", bars, share_text, compared=False, of="depth")


def _accuracy_chart(summary: Summary) -> LineChart:
    rows = [(depth, row) for depth, row in enumerate(summary.splits[summary.shown].depths) if row.n]
    intervals = [wilson_interval(row.right, row.n) for _, row in rows]
    depths = tuple(float(depth) for depth, _ in rows)
    return LineChart(
        title=f"Accuracy by depth, {summary.shown}",
        x_label="prediction depth",
        y_label="network's accuracy, %",
        whole_x=True,
        y_shows=(100.0,),
        series=(
            Series(name="95 % low", x=depths, y=tuple(100 * low for low, _ in intervals), role="before"),
            Series(name="95 % high", x=depths, y=tuple(100 * high for _, high in intervals), role="before"),
            Series(name="accuracy", x=depths, y=tuple(100 * row.right / row.n for _, row in rows), role="after"),
        ),
    )


def _margin_chart(summary: Summary) -> LineChart:
    rows = [(float(depth), row.margins) for depth, row in enumerate(summary.splits[summary.shown].depths)]
    known = [(depth, margins) for depth, margins in rows if margins is not None]
    depths = tuple(depth for depth, _ in known)
    return LineChart(
        title=f"Margin by depth, {summary.shown}",
        x_label="prediction depth",
        y_label="largest logit minus the second",
        whole_x=True,
        y_shows=(0.0,),
        series=(
            Series(name="lower quartile", x=depths, y=tuple(each.low for _, each in known), role="before"),
            Series(name="upper quartile", x=depths, y=tuple(each.high for _, each in known), role="before"),
            Series(name="median", x=depths, y=tuple(each.median for _, each in known), role="after"),
        ),
    )


def _probe_chart(summary: Summary) -> LineChart:
    depths = tuple(float(depth) for depth in range(len(summary.layers)))
    return LineChart(
        title="What the probes know",
        x_label="probe, from the input to the output",
        y_label="probe's accuracy, %",
        whole_x=True,
        series=tuple(
            Series(name=name, x=depths, y=tuple(100 * share for share in split.probes))
            for name, split in summary.splits.items()
        ),
    )


def _c_score_chart(summary: Summary) -> LineChart:
    assert summary.c_score is not None  # render_difficulty looked
    known = [(float(depth), score) for depth, score in enumerate(summary.c_score.by_depth) if score is not None]
    depths, scores = tuple(depth for depth, _ in known), tuple(100 * score for _, score in known)
    return LineChart(
        title="C-score by depth, train",
        x_label="prediction depth",
        y_label="mean C-score, %",
        whole_x=True,
        y_shows=(0.0, 100.0),
        series=(Series(name="C-score", x=depths, y=scores, role="after"),),
    )
