"""The distribution of latencies."""

import pytest

from tinyml.report.latency_curve import latency_curve


def test_the_curve_passes_the_median_at_one_half() -> None:
    line = latency_curve([1.0, 2.0, 3.0], ()).series[0]
    nearest = min(zip(line.x, line.y, strict=True), key=lambda point: abs(point[1] - 50))
    assert nearest == (pytest.approx(2.0, abs=0.02), pytest.approx(50, abs=0.5))


def test_the_legend_has_median_and_number_of_calls() -> None:
    names = [line.name for line in latency_curve([1.0, 2.0, 9.0], [1.0]).series]
    assert names == ["before: median 2.00 ms, 3 calls", "after: median 1.00 ms, 1 calls"]


def test_a_side_without_samples_has_no_line() -> None:
    assert [line.role for line in latency_curve((), [1.0]).series] == ["after"]
