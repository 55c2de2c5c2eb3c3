"""Rows of a comparison."""

import json
from dataclasses import replace

import pytest
from finished_runs import BEFORE, GROUP, RUN, measured

from tinyml.analysis.churn import Churn, DepthChurn
from tinyml.measure.measurement import Measurement
from tinyml.report.run_facts import RunComparison
from tinyml.report.run_rows import (
    ANSWERS,
    CHURN,
    COSTS,
    TIMED,
    answer_rows,
    churn_rows,
    comparison_json,
    cost_rows,
    numbers,
    timed_rows,
)

CHURNED = Churn(
    by_depth=(DepthChurn(depth=3, n=4, right_before=0, lost=(), gained=(7,)),),
    total=DepthChurn(depth=None, n=200, right_before=100, lost=(1, 2, 3, 4), gained=(7,)),
    dense_alike=1,
)


def cells(columns: tuple[str, ...], row: list[str]) -> dict[str, str]:
    return dict(zip(columns, row, strict=True))


def times(value: float, ratio: float) -> dict[str, Measurement]:
    interval = (ratio - 0.1, ratio + 0.1)
    return {
        "latency_ms": Measurement(metric="latency_ms", value=value, unit="ms"),
        "latency_ratio": Measurement(metric="latency_ratio", value=ratio, unit="x", interval=interval),
    }


def test_a_run_tells_its_score_and_what_it_lost() -> None:
    before, after = (cells(ANSWERS, row) for row in answer_rows(GROUP))
    assert (before["#"], before["run"], before["score"]) == ("0", "baseline", "90.0 %\n86.0 to 94.0 %\nn = 200")
    assert (after["run"], after["kind"], after["checks"]) == ("small", "k-means", "passed")
    assert after["against the baseline"] == "-2.0 points\n-3.0 to -1.0 points, paired"


def test_a_run_tells_what_its_file_costs() -> None:
    before, after = (cells(COSTS, row) for row in cost_rows(GROUP))
    assert (before["bits/weight"], before["share"], before["latency"]) == ("32.0", "", "")
    assert (after["file"], after["share"], after["bits/weight"]) == ("350 B", "8.5 %", "2.00")
    assert after["latency"] == "2.00x faster\n1.90x to 2.10x"
    assert after["MACs"] == "not measured"


def test_a_run_without_a_score_says_so() -> None:
    group = replace(GROUP, runs=(replace(RUN, after=measured(size=1, graph=0, parameters=1)),))
    row = cells(ANSWERS, answer_rows(group)[1])
    assert (row["score"], row["against the baseline"]) == ("not measured", "")


def test_a_flat_row_holds_plain_numbers() -> None:
    row = numbers(RUN, GROUP)
    assert (row["score_value"], row["score_low"], row["score_n"], row["baseline_score"]) == (0.88, 0.84, 200, 0.9)
    assert (row["size_bytes"], row["baseline_size_bytes"], row["bits_per_weight"]) == (350, 4100, 2)
    assert (row["latency_ratio"], row["macs"], row["points"]) == (2, None, pytest.approx(-2))


def test_times_are_told_beside_the_first_file() -> None:
    timed = {"baseline of small": times(3, 1), "small": times(1.5, 2)}
    first, second = timed_rows(RunComparison(groups=(GROUP,), timed=timed, churn={}))
    assert cells(TIMED, first)["against the first"] == ""
    assert cells(TIMED, second)["against the first"] == "2.00x faster\n1.90x to 2.10x"


def test_depths_come_before_the_sum_of_all() -> None:
    deep, total = (cells(CHURN, row) for row in churn_rows(CHURNED))
    assert (deep["depth"], deep["gained"], deep["lost of those right"]) == ("3", "1", "-")
    assert (total["depth"], total["net"], total["lost of those right"]) == ("all", "-1.5 points", "4.0 %")


def test_json_holds_everything_but_the_samples() -> None:
    facts = comparison_json(RunComparison(groups=(GROUP,), notes=("n",), timed={}, churn={"small": CHURNED}))
    text = json.dumps(facts, allow_nan=False)
    assert "samples" in BEFORE["latency_ms"].to_json()
    assert "samples" not in text
    assert json.loads(text)["churn"]["small"]["total"]["lost_examples"] == [1, 2, 3, 4]
    assert json.loads(text)["groups"][0]["runs"][0]["measurements"]["model"]["size_bytes"]["value"] == 350
