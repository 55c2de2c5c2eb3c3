"""Small multiples of weights."""

import re

import pytest

from tinyml.analysis.weights import HistogramPair, WeightHistogram
from tinyml.report.weight_histograms import single_histogram, weight_histogram


def side(counts: tuple[int, ...], *, zeros: float = 0.0, distinct: int = 4) -> WeightHistogram:
    return WeightHistogram(counts=counts, weights=sum(counts), zeros=zeros, distinct=distinct, stored="int8")


def drawn(before: WeightHistogram, after: WeightHistogram) -> str:
    return weight_histogram(HistogramPair(name="conv1", edges=(-3.0, -1.0, 1.0, 3.0), before=before, after=after))


def heights(svg: str, css: str) -> list[float]:
    points = re.findall(rf'd="M([^"]+)Z" class="{css}"', svg)[0].split()
    levels = [float(point.split(",")[1]) for point in points]
    return [round(levels[0] - level, 1) for level in levels[1:-1:2]]


def test_heights_are_shares_so_that_a_smaller_layer_compares() -> None:
    svg = drawn(side((10, 20, 10)), side((1, 2, 1)))
    assert heights(svg, "before") == heights(svg, "after") == [26, 52, 26]  # of 52 pixels


def test_many_zeros_are_cut_off_so_that_the_rest_shows() -> None:
    svg = drawn(side((10, 10, 10)), side((10, 70, 20), zeros=0.7))
    # others reach at most 1/3 (before), above 1.2 x 20 % (after): the full height
    assert heights(svg, "after") == [15.6, 52, 31.2]
    assert "70 % zeros" in svg


@pytest.mark.parametrize(
    ("zeros", "said"), [(0.0, "0 %"), (0.004, "&lt;1 %"), (0.996, "99 %"), (1.0, "100 %")], ids=str
)
def test_few_and_nearly_all_zeros_are_not_rounded_away(zeros: float, said: str) -> None:
    assert f"{said} zeros" in drawn(side((1, 1, 1)), side((1, 1, 1), zeros=zeros))


@pytest.mark.parametrize(("distinct", "said"), [(16, "16 values"), (9000, "9,000 weights")])
def test_values_are_counted_where_they_are_few(distinct: int, said: str) -> None:
    assert said in drawn(side((1, 1, 1)), side((3000, 3000, 3000), distinct=distinct))


def test_a_layer_that_is_not_in_the_file_is_said_so() -> None:
    assert "after: no such layer" in drawn(side((1, 2, 1)), WeightHistogram())


def test_one_network_alone_has_one_panel() -> None:
    pair = HistogramPair(name="conv1", edges=(-3.0, -1.0, 1.0, 3.0), before=WeightHistogram(), after=side((1, 2, 1)))
    svg = single_histogram(pair)
    assert heights(svg, "after") == [26, 52, 26]
    assert "no such layer" not in svg
