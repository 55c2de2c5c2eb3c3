"""A line chart with axes and a legend: training curves, sensitivities, trade-offs, distributions."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Final, Literal, final

from tinyml.report.svg import Point, figure, path, round_ticks, text, text_width, titled
from tinyml.report.units import significant

_WIDTH: Final = 480.0
_LEFT: Final = 52.0
_RIGHT: Final = 14.0
_PLOT_HEIGHT: Final = 200.0
_BELOW: Final = 42.0
_LINE_HEIGHT: Final = 20.0
_KEY: Final = 26.0
_COLOURS: Final = 6
_DASHES: Final = ("", "6 4", "2 4")
_DOTS_UP_TO: Final = 12
_NEAR: Final = 0.1  # of a step: so little beyond a tick needs no further one


@final
@dataclass(frozen=True, kw_only=True)
class Series:
    """One line. Points with a NaN are left out, and the line is broken there.

    Attributes:
        name: in the legend.
        x: places, in the order they are joined.
        y: values, as many.
        role: "before" and "after" have colours of their own everywhere in a report.
        joined: whether a line joins the points; else there are dots alone.
        labels: short texts beside the points; empty without.
    """

    name: str
    x: tuple[float, ...]
    y: tuple[float, ...]
    role: Literal["before", "after", "other"] = "other"
    joined: bool = True
    labels: tuple[str, ...] = ()


@final
@dataclass(frozen=True, kw_only=True)
class LineChart:
    """Lines over one pair of axes.

    Attributes:
        title: what is shown.
        x_label: what x is, with its unit.
        y_label: what y is, with its unit.
        series: the lines.
        whole_x: whether x counts something, such as epochs: only whole numbers are then written below the axis.
        x_shows: values that the x axis holds even where no line reaches them.
        y_shows: the same of the y axis, so that charts side by side compare.
        note: a sentence for the reader, below the chart in a page.
    """

    title: str
    x_label: str
    y_label: str
    series: tuple[Series, ...]
    whole_x: bool = False
    x_shows: tuple[float, ...] = ()
    y_shows: tuple[float, ...] = ()
    note: str = ""


@dataclass(frozen=True, kw_only=True)
class _Scale:
    """Values low-high onto pixels start-end."""

    low: float
    high: float
    start: float
    end: float

    def __call__(self, value: float) -> float:
        return self.start + (value - self.low) / (self.high - self.low) * (self.end - self.start)


def line_chart(chart: LineChart) -> str:
    """Return the figure, or "" where no point can be drawn."""
    x_values = [value for line in chart.series for value in line.x]
    x_scale = _fitted([*chart.x_shows, *x_values], _LEFT, _WIDTH - _RIGHT)
    legend, top = _legend(chart)
    bottom = top + _PLOT_HEIGHT
    y_scale = _fitted([*chart.y_shows, *(value for line in chart.series for value in line.y)], bottom, top)
    if x_scale is None or y_scale is None:
        return ""
    y_scale = _rounded(y_scale)
    lines = [_line(line, _style(line, index), x_scale, y_scale) for index, line in enumerate(chart.series)]
    body = legend + _axes(chart, x_scale, y_scale) + "".join(lines)
    return figure(chart.title, _WIDTH, bottom + _BELOW, body)


def _fitted(values: Sequence[float], start: float, end: float) -> _Scale | None:
    """Return the scale that shows all finite values, or None where there are none."""
    finite = [value for value in values if math.isfinite(value)]
    if not finite:
        return None
    low, high = min(finite), max(finite)
    if low == high:
        half = abs(low) / 20 or 0.5
        low, high = low - half, high + half
    return _Scale(low=low, high=high, start=start, end=end)


def _rounded(scale: _Scale) -> _Scale:
    """Return the scale stretched to the next tick on both sides, so that the grid encloses the lines."""
    ticks = round_ticks(scale.low, scale.high)
    step = ticks[1] - ticks[0]
    return replace(
        scale,
        low=ticks[0] - step if ticks[0] - scale.low > step * _NEAR else min(ticks[0], scale.low),
        high=ticks[-1] + step if scale.high - ticks[-1] > step * _NEAR else max(ticks[-1], scale.high),
    )


def _style(line: Series, index: int) -> tuple[str, str]:
    """Return the class and the dashes of a line; colours repeat with other dashes."""
    if line.role != "other":
        return line.role, ""
    return f"series-{index % _COLOURS + 1}", _DASHES[index // _COLOURS % len(_DASHES)]


def _legend(chart: LineChart) -> tuple[str, float]:
    """Return the title, the legend and the name of the y axis, and the y below them."""
    pieces = [text(0, 14, chart.title, css="strong")]
    x, y = 0.0, 14 + _LINE_HEIGHT
    for index, line in enumerate(chart.series):
        css, dash = _style(line, index)
        width = _KEY + text_width(line.name) + 16
        if x > 0 and x + width > _WIDTH:
            x, y = 0.0, y + _LINE_HEIGHT
        key = path([(x, y - 4), (x + _KEY - 6, y - 4)], css=f"line {css}", dash=dash)
        pieces.append(key if line.joined else _dot((x + _KEY / 2, y - 4), css))
        pieces.append(text(x + _KEY, y, line.name))
        x += width
    pieces.append(text(0, y + _LINE_HEIGHT + 2, chart.y_label, css="muted"))
    return "".join(pieces), y + 2 * _LINE_HEIGHT - 4


def _axes(chart: LineChart, x_scale: _Scale, y_scale: _Scale) -> str:
    """Return grid lines, the numbers of both axes, and the name of the x axis."""
    bottom = y_scale.start
    pieces = []
    for tick in round_ticks(y_scale.low, y_scale.high):
        y = y_scale(tick)
        pieces.append(path([(_LEFT, y), (_WIDTH - _RIGHT, y)], css="rule"))
        pieces.append(text(_LEFT - 6, y + 4, tick_text(tick), css="muted", anchor="end"))
    for tick in round_ticks(x_scale.low, x_scale.high, 6):
        if chart.whole_x and not tick.is_integer():
            continue
        x = x_scale(tick)
        pieces.append(path([(x, bottom), (x, bottom + 4)], css="axis"))
        pieces.append(text(x, bottom + 17, tick_text(tick), css="muted", anchor="middle"))
    pieces.append(path([(_LEFT, bottom), (_WIDTH - _RIGHT, bottom)], css="axis"))
    pieces.append(text(_WIDTH - _RIGHT, bottom + 35, chart.x_label, css="muted", anchor="end"))
    return "".join(pieces)


def _line(line: Series, style: tuple[str, str], x_scale: _Scale, y_scale: _Scale) -> str:
    """Return one line in as many pieces as its gaps make of it, with dots where the points are few or not joined."""
    css, dash = style
    runs: list[list[Point]] = [[]]
    for x, y in zip(line.x, line.y, strict=True):
        if math.isfinite(x) and math.isfinite(y):
            runs[-1].append((x_scale(x), y_scale(y)))
        elif runs[-1]:
            runs.append([])
    drawn = "".join(path(run, css=f"line {css}", dash=dash) for run in runs) if line.joined else ""
    if not line.joined or len(line.x) <= _DOTS_UP_TO:
        drawn += "".join(_dot(point, css) for run in runs for point in run)
    for x, y, label in zip(line.x, line.y, line.labels, strict=bool(line.labels)):
        if math.isfinite(x) and math.isfinite(y):
            drawn += text(x_scale(x) - 5, y_scale(y) - 5, label, anchor="end")
    return titled(line.name, drawn)


def _dot(point: Point, css: str) -> str:
    """Return a small disc."""
    return f'<circle cx="{point[0]:.1f}" cy="{point[1]:.1f}" r="3" class="dot {css}"/>'


def tick_text(value: float) -> str:
    """Return a tick's number without needless digits."""
    written = significant(value)
    return written.rstrip("0").rstrip(".") if "." in written else written
