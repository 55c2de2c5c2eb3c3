"""The page: whole, self-contained, and safe whatever names are in it."""

import re
from dataclasses import replace
from html.parser import HTMLParser

import pytest

from tinyml.measure.measurement import Measurement
from tinyml.report.comparison import Comparison, compare_measurements
from tinyml.report.line_chart import LineChart, Series
from tinyml.report.page import render_page
from tinyml.report.report import LayerCost, LayerRow, LedgerRow, LeftAlone, Report
from tinyml.verification.agreement import SAME_ANSWER
from tinyml.verification.check import Check

VOID = {"meta", "br", "rect", "path", "circle", "link", "img", "hr"}


class Balance(HTMLParser):
    """Holds the elements that are open, and complains of one that is closed out of turn."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.seen: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.seen.append(tag)
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.seen.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


def parsed(page: str) -> Balance:
    balance = Balance()
    balance.feed(page)
    balance.close()
    return balance


@pytest.mark.parametrize("which", ["report", "bare_report"])
def test_every_element_is_closed_in_turn(which: str, request: pytest.FixtureRequest) -> None:
    assert parsed(render_page(request.getfixturevalue(which))).open == []


def test_a_paired_difference_is_called_so(report: Report, paired: Comparison) -> None:
    assert "<small>95 %: -3.0 to +2.0 points, paired</small>" in render_page(replace(report, comparison=paired))


def test_nothing_is_loaded_from_anywhere(report: Report) -> None:
    page = render_page(report)
    assert not re.search(r"https?://|//cdn|@import|url\(", page)
    assert not {"script", "link", "img", "iframe"} & set(parsed(page).seen)


def test_hostile_names_stay_text(report: Report) -> None:
    evil = '"><script>alert(1)</script>&'
    pair = replace(report.histograms[0], name=evil)
    page = render_page(
        replace(
            report,
            name=evil,
            data=evil,
            recipe_yaml=evil,
            command=evil,
            classes=(evil,),
            notes=(evil,),
            calibration={evil: evil},
            versions={evil: evil},
            raw={evil: evil},
            layers=(LayerRow(name=evil, kind=evil, before=LayerCost(macs=2), after=LayerCost(macs=1)),),
            histograms=(pair,),
            left_alone=(LeftAlone(module=evil, reason=evil, pass_name=evil),),
            verification=(Check(name=evil, value=evil, bound=evil, outcome="failed", explanation=evil),),
            charts=(
                LineChart(title=evil, x_label=evil, y_label=evil, series=(Series(name=evil, x=(0, 1), y=(0, 1)),)),
            ),
            ledger=(LedgerRow(kind=evil, before_bytes=1, after_bytes=1),),
        )
    )
    balance = parsed(page)
    assert "script" not in balance.seen
    assert balance.open == []


@pytest.mark.parametrize(
    ("checks", "headline"),
    [
        ((Check(name=SAME_ANSWER, value="1", outcome="passed"),), "Verified."),
        ((Check(name="a", value="1", outcome="passed"),), "Not verified."),
        (
            (Check(name="a", value="1", outcome="passed"), Check(name="b", value="2", outcome="failed")),
            "Gate missed.",
        ),
        ((Check(name="a", value="1", outcome="noted"),), "Not verified."),
        ((), "Not verified."),
    ],
    ids=["it agrees", "nothing was compared", "one failed", "only notes", "no checks"],
)
def test_the_headline_says_whether_to_ship_it(report: Report, checks: tuple[Check, ...], headline: str) -> None:
    assert f"<strong>{headline}</strong>" in render_page(replace(report, verification=checks))


def test_a_failed_check_is_told_at_the_top(report: Report) -> None:
    failed = Check(name="accuracy", value="-1.8 points", bound="-1.0 points", outcome="failed")
    head = render_page(replace(report, verification=(failed,))).partition("<section>")[0]
    assert "-1.8 points (demanded: -1.0 points)" in head


def test_missing_accuracy_is_said_with_its_reason(bare_report: Report) -> None:
    assert "not measured: no data was given" in render_page(bare_report)


def test_sections_without_content_are_left_out(bare_report: Report) -> None:
    headings = re.findall(r"<h2>([^<]+)</h2>", render_page(bare_report))
    assert headings == [
        "Before and after",
        "Verification",
        "How to run model.onnx",
        "Left alone, wholly or in part",
        "How it was made",
    ]


def test_sections_with_content_are_there(report: Report) -> None:
    page = render_page(report)
    assert {"Latency", "Layer by layer", "Weights"} <= set(re.findall(r"<h2>([^<]+)</h2>", page))
    assert "4.0x smaller" in page


def test_one_measured_file_needs_no_baseline(bare_report: Report) -> None:
    size = Measurement(metric="size_bytes", value=10, unit="bytes")
    assert "10 B" in render_page(replace(bare_report, comparison=compare_measurements({"model": {"size_bytes": size}})))


def test_more_than_two_files_have_each_their_change(bare_report: Report) -> None:
    files = {name: {"size_bytes": Measurement(metric="size_bytes", value=value, unit="bytes")}
             for name, value in (("a", 8), ("b", 4), ("c", 2))}  # fmt: skip
    page = render_page(replace(bare_report, comparison=compare_measurements(files)))
    assert page.index("2.0x smaller") < page.rindex("4.0x smaller")


def test_the_same_report_gives_the_same_page(report: Report) -> None:
    assert render_page(report) == render_page(report)
