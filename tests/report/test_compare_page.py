"""The page of a comparison."""

import math
from dataclasses import replace

from finished_runs import GROUP, RUN

from tinyml.analysis.churn import Churn, DepthChurn
from tinyml.report.compare_page import churn_chart, render_comparison
from tinyml.report.run_facts import RunComparison

PLAIN = RunComparison(groups=(GROUP,), timed={}, churn={})
CHURNED = Churn(
    by_depth=(
        DepthChurn(depth=1, n=4, right_before=4, lost=(2,), gained=()),
        DepthChurn(depth=5, n=1, right_before=0, lost=(), gained=()),
    ),
    total=DepthChurn(depth=None, n=5, right_before=4, lost=(2,), gained=()),
    dense_alike=1,
)


def test_a_page_has_two_pictures_of_each_group() -> None:
    page = render_comparison(replace(PLAIN, groups=(GROUP, GROUP)))
    assert page.count("<svg") == 4
    assert all(absent not in page for absent in ("Timed together", "by difficulty", "Before you compare"))


def test_notes_come_first_and_recipes_last() -> None:
    page = render_comparison(replace(PLAIN, notes=("other data",)), "tinyml compare runs/small")
    words = ("other data", "-2.0 points", "kmeans_quantization bits=2", "tinyml compare runs/small")
    places = [page.index(said) for said in words]
    assert places == sorted(places)


def test_files_that_were_timed_together_have_a_table() -> None:
    timed = {"small": {metric: RUN.after[metric] for metric in ("latency_ms", "latency_ratio")}}
    assert "Timed together" in render_comparison(replace(PLAIN, timed=timed))


def test_what_was_lost_is_drawn_over_the_depth() -> None:
    comparison = replace(PLAIN, churn={"small": CHURNED})
    (line,) = churn_chart(comparison).series
    assert (line.name, line.x, line.y[0]) == ("small", (1, 5), 25)
    assert math.isnan(line.y[1])  # nothing was right there: nothing can be lost
    assert render_comparison(comparison).count("<svg") == 3


def test_names_are_escaped() -> None:
    hostile = "<script>alert(1)</script>"
    run = replace(RUN, name=hostile, label=hostile, recipe=hostile, passes=(hostile,), kind=hostile)
    group = replace(GROUP, model=hostile, runs=(run,))
    page = render_comparison(
        RunComparison(groups=(group,), notes=(hostile,), timed={}, churn={hostile: CHURNED}), hostile
    )
    assert hostile not in page
