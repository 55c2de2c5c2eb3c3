"""Line charts."""

import math
import re

import pytest

from tinyml.report.line_chart import LineChart, Series, line_chart, tick_text


def chart(*series: Series) -> str:
    return line_chart(LineChart(title="Loss", x_label="epoch", y_label="loss", series=series))


def line_paths(svg: str) -> list[str]:
    return re.findall(r'<path d="M([^"]+)" class="line series-1"', svg)[1:]  # the first is the legend's


def test_points_are_placed_linearly() -> None:
    svg = chart(Series(name="a", x=(0, 1, 2), y=(0, 5, 10)))
    points = [tuple(map(float, point.split(","))) for point in line_paths(svg)[0].split()]
    assert points[1][0] == pytest.approx((points[0][0] + points[2][0]) / 2, abs=0.1)
    assert points[1][1] == pytest.approx((points[0][1] + points[2][1]) / 2, abs=0.1)


def test_a_nan_breaks_the_line() -> None:
    assert len(line_paths(chart(Series(name="a", x=(0, 1, 2, 3, 4), y=(1, 2, math.nan, 3, 4))))) == 2


def test_the_seventh_line_repeats_a_colour_with_dashes() -> None:
    svg = chart(*(Series(name=str(index), x=(0, 1), y=(0, index)) for index in range(7)))
    assert svg.count('class="line series-1" stroke-dasharray="6 4"') == 2  # in the legend and in the chart


@pytest.mark.parametrize(
    "series",
    [(), (Series(name="a", x=(), y=()),), (Series(name="a", x=(1,), y=(math.nan,)),)],
    ids=["no lines", "no points", "no number"],
)
def test_nothing_to_draw_is_no_figure(series: tuple[Series, ...]) -> None:
    assert chart(*series) == ""


@pytest.mark.parametrize("value", [0.0, 5.0, 1e20, -3.0])
def test_a_constant_line_is_drawn(value: float) -> None:
    assert "nan" not in chart(Series(name="a", x=(0, 1), y=(value, value)))


@pytest.mark.parametrize(("value", "expected"), [(0.5, "0.5"), (100, "100"), (1.25, "1.25"), (0, "0")])
def test_ticks_have_no_needless_digits(value: float, expected: str) -> None:
    assert tick_text(value) == expected


def test_values_beyond_the_lines_are_shown_so_that_charts_compare() -> None:
    series = Series(name="a", x=(0, 1), y=(80, 90))
    svg = line_chart(LineChart(title="", x_label="", y_label="", series=(series,), y_shows=(0,)))
    assert ">0</text>" in svg
    assert "-20" not in svg


def test_points_that_are_not_joined_are_labelled_dots() -> None:
    svg = chart(Series(name="a", x=tuple(range(20)), y=(1.0,) * 20, joined=False, labels=("no. 7",) * 20))
    assert svg.count("<circle") == 1 + 20  # the legend's
    assert svg.count(">no. 7</text>") == 20
    assert 'class="line' not in svg


def test_a_point_that_is_no_number_has_no_label() -> None:
    svg = chart(Series(name="a", x=(0, 1, 2), y=(0, math.nan, 2), labels=("one", "two", "three")))
    assert [label in svg for label in ("one", "two", "three")] == [True, False, True]


def test_a_label_for_each_point_is_demanded() -> None:
    with pytest.raises(ValueError, match="zip"):
        chart(Series(name="a", x=(0, 1), y=(0, 1), labels=("one",)))


def test_the_axis_below_is_stretched_to_what_it_shall_show() -> None:
    series = Series(name="a", x=(80, 90), y=(0, 1))
    svg = line_chart(LineChart(title="", x_label="", y_label="", series=(series,), x_shows=(0,)))
    assert ">0</text>" in svg
    assert ">40</text>" in svg
