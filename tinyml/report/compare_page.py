"""Runs side by side as one HTML page that needs nothing beside it."""

import math
from typing import Final

from markupsafe import Markup

from tinyml.report.html import render_html
from tinyml.report.line_chart import LineChart, Series, line_chart
from tinyml.report.run_facts import RunComparison
from tinyml.report.run_rows import (
    ANSWERS,
    CHURN,
    COSTS,
    EXPLAINED,
    TIMED,
    answer_rows,
    churn_rows,
    cost_rows,
    timed_rows,
)
from tinyml.report.trade_off import trade_offs

_CHURN_NOTE: Final = (
    "Depth is the layer from which on neighbours in feature space vote as the dense network answers: the larger, the "
    "harder the example. Where there are few examples the line jumps: the tables below have counts and intervals."
)


def render_comparison(comparison: RunComparison, command: str = "") -> str:
    """Return the page as HTML text."""
    return render_html(
        "compare.html.jinja",
        title=f"{len(comparison.runs)} runs" if len(comparison.runs) > 1 else "1 run",
        kicker="tinyml compare",
        subject="; ".join(group.name for group in comparison.groups),
        notes=comparison.notes,
        groups=[
            {
                "name": group.name,
                "tables": (("Answers", ANSWERS, answer_rows(group)), ("Costs", COSTS, cost_rows(group))),
                "charts": [_drawn(chart) for chart in trade_offs(group)],
            }
            for group in comparison.groups
        ],
        explained=EXPLAINED,
        recipes=[(run.number, run.name, run.recipe, run.target, run.passes) for run in comparison.runs],
        timed_columns=TIMED,
        timed=timed_rows(comparison),
        churn_columns=CHURN,
        churn_chart=_drawn(churn_chart(comparison)) if comparison.churn else None,
        churn=[(name, churn_rows(found)) for name, found in comparison.churn.items()],
        command=command,
    )


def churn_chart(comparison: RunComparison) -> LineChart:
    """Return the share of what the dense network gets right that each run loses, over the depth of the examples."""
    return LineChart(
        title="Lost by prediction depth",
        x_label="prediction depth",
        y_label="lost, % of those that the dense network gets right",
        series=tuple(
            Series(
                name=name,
                x=tuple(float(row.depth) for row in found.by_depth if row.depth is not None),
                y=tuple(math.nan if row.lost_share is None else 100 * row.lost_share for row in found.by_depth),
            )
            for name, found in comparison.churn.items()
        ),
        whole_x=True,
        y_shows=(0.0,),
        note=_CHURN_NOTE,
    )


def _drawn(chart: LineChart) -> tuple[Markup, str]:
    """Return the drawing and its note."""
    return Markup(line_chart(chart)), chart.note
