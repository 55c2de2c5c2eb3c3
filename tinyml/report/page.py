"""The report as one HTML page that needs nothing beside it: no script, no font, no other host."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

from markupsafe import Markup

from tinyml.report.comparison import ComparisonRow
from tinyml.report.exits import COLUMNS, exit_cells, exit_histogram
from tinyml.report.html import render_html
from tinyml.report.latency_curve import latency_curve
from tinyml.report.layer_bars import LayerBar, layer_bars
from tinyml.report.left_alone import by_reason
from tinyml.report.line_chart import LineChart, line_chart
from tinyml.report.report import LayerCost, LayerRow, Report
from tinyml.report.tables import shape_text
from tinyml.report.units import bytes_text, count_text, milliseconds_text
from tinyml.report.usage import usage_snippet
from tinyml.report.weight_histograms import weight_histogram

_HEADLINES: Final = ("accuracy", "auc", "size_bytes", "latency_mean_ms", "latency_ms", "peak_activation_bytes", "macs")
_TILES: Final = 4
_HISTOGRAMS_SHOWN: Final = 12
_TALL: Final = 30


@dataclass(frozen=True, kw_only=True)
class _Panel:
    """A figure with the sentence below it."""

    drawing: Markup
    note: str = ""


@dataclass(frozen=True, kw_only=True)
class _Exits:
    """The exits drawn."""

    rows: list[list[str]]
    histogram: Markup
    curve: _Panel


def render_page(report: Report) -> str:
    """Return the page as HTML text."""
    histograms = [Markup(weight_histogram(pair)) for pair in report.histograms]
    return render_html(
        "report.html.jinja",
        report=report,
        left_alone=by_reason(report.left_alone),
        pair=len(report.comparison.subjects) == 2,
        tiles=_tiles(report),
        estimated=any(row.estimated for row in report.comparison.rows),
        layer_figures=_layer_figures(report.layers),
        tall=len(report.layers) > _TALL,
        latency=_latency(report),
        charts=[_panel(chart) for chart in report.charts],
        exits=_exits(report),
        exit_columns=COLUMNS,
        first_histograms=histograms[:_HISTOGRAMS_SHOWN],
        more_histograms=histograms[_HISTOGRAMS_SHOWN:],
        snippet=usage_snippet(report),
        surroundings={"seed": report.seed, "threads": report.threads, **report.machine, **report.versions},
        bytes_text=bytes_text,
        count_text=count_text,
        milliseconds_text=milliseconds_text,
        shape_text=shape_text,
    )


def _tiles(report: Report) -> list[ComparisonRow]:
    """Return the rows that the head of the page shows large: what changed first of all, four at most."""
    # of a network with exits the mean says more than the median of several kinds of calls
    left_out = {"latency_ms"} if report.exits is not None else set()
    rows = [report.comparison.row(metric) for metric in _HEADLINES if metric not in left_out]
    return [row for row in rows if row is not None and row.cells[-1].change.text][:_TILES]


def _layer_figures(layers: Sequence[LayerRow]) -> list[Markup]:
    """Return the bars of every cost that is known of some layer."""
    kinds: tuple[tuple[str, Callable[[LayerCost], float | None], Callable[[float], str]], ...] = (
        ("Latency", lambda cost: cost.latency_ms, milliseconds_text),
        ("Multiply-adds", lambda cost: cost.macs, count_text),
        ("Parameters", lambda cost: cost.parameters, count_text),
        ("Bytes of activations", lambda cost: cost.activation_bytes, bytes_text),
    )
    figures = []
    for title, cost, written in kinds:
        bars = [LayerBar(name=row.name, before=cost(row.before), after=cost(row.after)) for row in layers]
        figures.append(Markup(layer_bars(title, bars, written)))
    return [figure for figure in figures if figure]


def _latency(report: Report) -> _Panel | None:
    """Return the distribution of latencies, or None where there are no samples."""
    if not report.latency_before_ms and not report.latency_after_ms:
        return None
    return _panel(latency_curve(report.latency_before_ms, report.latency_after_ms))


def _exits(report: Report) -> _Exits | None:
    if report.exits is None:
        return None
    return _Exits(
        rows=exit_cells(report.exits), histogram=Markup(exit_histogram(report.exits)), curve=_panel(report.exits.curve)
    )


def _panel(chart: LineChart) -> _Panel:
    """Return a chart with its note."""
    return _Panel(drawing=Markup(line_chart(chart)), note=chart.note)
