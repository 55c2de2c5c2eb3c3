"""Pieces of SVG."""

from xml.etree import ElementTree

import pytest

from tinyml.report.svg import box, figure, path, round_ticks, shortened, text, titled


@pytest.mark.parametrize(
    ("low", "high", "expected"),
    [(0, 10, [0, 2, 4, 6, 8, 10]), (0.03, 0.11, [0.04, 0.06, 0.08, 0.1]), (-1, 1, [-1, -0.5, 0, 0.5, 1]), (3, 3, [3])],
    ids=["tens", "hundredths", "around zero", "no span"],
)
def test_ticks_are_round(low: float, high: float, expected: list[float]) -> None:
    assert round_ticks(low, high) == expected


def test_a_long_name_keeps_its_end() -> None:
    assert shortened("features.layer1.0.conv1", 65) == "…1.0.conv1"


def test_a_short_name_stays() -> None:
    assert shortened("conv1", 65) == "conv1"


def test_a_figure_is_well_formed_whatever_its_words_are() -> None:
    body = titled("a & b", text(0, 10, "<script>", anchor="end") + box(0, 0, -3, 5, css="after"))
    root = ElementTree.fromstring(figure('x "y" <z>', 20, 10, body + path([(0, 0), (1.25, 2)], css="rule")))
    assert root.attrib["viewBox"] == "0 0 20 10"
    assert root.attrib["aria-label"] == 'x "y" <z>'
    assert "<script>" in "".join(root.itertext())
