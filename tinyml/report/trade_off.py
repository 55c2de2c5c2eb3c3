"""Pictures of what is paid for what is kept: the score of runs against their size, and against the bits of a weight."""

from collections.abc import Callable, Mapping
from typing import Final, Literal

from tinyml.measure.measurement import Measurement
from tinyml.numerics.pareto import pareto_front
from tinyml.report.changes import wording
from tinyml.report.line_chart import LineChart, Series
from tinyml.report.run_facts import RunGroup, bits_per_weight, score_of

Cost = Callable[[Mapping[str, Measurement]], float | None]

_BASELINE: Final = "0"
_NOTE: Final = (
    "Numbers are those of the table, 0 is the baseline. No network here costs less and scores more than one on the "
    "front; points nearer to each other than their intervals may change places."
)
_COSTS: Final[tuple[tuple[str, str, Cost], ...]] = (
    ("file size", "file, KiB", lambda measured: measured["size_bytes"].value / 1024),
    ("bits of a weight", "bits of a weight, all that is stored counted", bits_per_weight),
)


def trade_offs(group: RunGroup) -> tuple[LineChart, ...]:
    """Return the charts of runs that share a baseline; none where nothing was scored."""
    charts = (_chart(group, *cost) for cost in _COSTS)
    return tuple(chart for chart in charts if chart is not None)


def _chart(group: RunGroup, title: str, x_label: str, cost: Cost) -> LineChart | None:
    """Return one chart: the front as a line below the points, a series for the baseline and for each kind."""
    baseline = _point(group.before, cost)
    points = {run.number: point for run in group.runs if (point := _point(run.after, cost))}
    score = score_of(group.before)
    if baseline is None or score is None or not points:
        return None
    name = wording(score.metric).label
    series = [_front([baseline, *points.values()]), _dots("baseline", {_BASELINE: baseline}, "before")]
    for kind in dict.fromkeys(run.kind for run in group.runs if run.number in points):
        own = {str(run.number): points[run.number] for run in group.runs if run.kind == kind and run.number in points}
        series.append(_dots(kind, own))
    return LineChart(
        title=f"{name} against {title}",
        x_label=x_label,
        y_label=f"{name}, %",
        series=tuple(series),
        x_shows=(0.0,),
        note=_NOTE,
    )


def _point(measurements: Mapping[str, Measurement], cost: Cost) -> tuple[float, float] | None:
    """Return (cost, score in percent); None where one of them is not known."""
    x, score = cost(measurements), score_of(measurements)
    return None if x is None or score is None else (x, 100 * score.value)


def _front(points: list[tuple[float, float]]) -> Series:
    """Return the line through the points that no other one dominates."""
    front = [points[index] for index in pareto_front(points)]
    return Series(name="Pareto front", x=tuple(x for x, _ in front), y=tuple(y for _, y in front), role="before")


def _dots(name: str, points: Mapping[str, tuple[float, float]], role: Literal["before", "other"] = "other") -> Series:
    """Return labelled points."""
    return Series(
        name=name,
        x=tuple(x for x, _ in points.values()),
        y=tuple(y for _, y in points.values()),
        role=role,
        joined=False,
        labels=tuple(points),
    )
