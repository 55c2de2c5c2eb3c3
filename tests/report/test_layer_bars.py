"""Bars per layer."""

import re

from tinyml.report.layer_bars import LayerBar, layer_bars


def lengths(svg: str, css: str) -> list[float]:
    found = re.findall(r'<rect x="132" y="[\d.]+" width="([\d.]+)" height="[\d.]+" class="(\w+)"', svg)
    return [float(width) for width, name in found if name == css]


def test_bars_are_as_long_as_their_share_of_the_largest() -> None:
    svg = layer_bars("MACs", [LayerBar(name="a", before=100, after=50), LayerBar(name="b", before=25, after=10)], str)
    (longest, quarter), (half, tenth) = lengths(svg, "before"), lengths(svg, "after")
    assert (quarter / longest, half / longest) == (0.25, 0.5)
    assert abs(tenth / longest - 0.1) < 0.001  # coordinates are rounded to a tenth of a pixel


def test_equal_sides_are_one_bar() -> None:
    svg = layer_bars("MACs", [LayerBar(name="a", before=4, after=4)], str)
    assert "the same before and after" in svg
    assert (len(lengths(svg, "before")), len(lengths(svg, "after"))) == (0, 1)


def test_a_side_that_is_not_known_has_no_bar() -> None:
    svg = layer_bars("MACs", [LayerBar(name="a", before=4, after=None)], str)
    assert lengths(svg, "after") == []
    assert "after not known" in svg


def test_nothing_known_is_no_figure() -> None:
    assert layer_bars("MACs", [LayerBar(name="a", before=None, after=None)], str) == ""


def test_all_zero_is_drawn_without_bars() -> None:
    assert lengths(layer_bars("MACs", [LayerBar(name="a", before=0, after=0)], str), "after") == []


def test_a_hostile_name_is_escaped() -> None:
    assert "<script>" not in layer_bars("MACs", [LayerBar(name="<script>", before=1, after=1)], str)


def test_one_network_alone_has_one_bar_and_no_before() -> None:
    bars = [LayerBar(name="a", before=None, after=4), LayerBar(name="b", before=None, after=2)]
    svg = layer_bars("Weights", bars, str, compared=False)
    assert len(lengths(svg, "after")) == 2
    assert "before" not in svg
    assert "<title>a: 4</title>" in svg
