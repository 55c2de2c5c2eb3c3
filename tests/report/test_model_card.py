"""The model card."""

import re
from dataclasses import replace

import pytest

from tinyml.report.comparison import Comparison
from tinyml.report.model_card import fenced, plain, render_model_card
from tinyml.report.report import LeftAlone, Report
from tinyml.verification.agreement import SAME_ANSWER
from tinyml.verification.check import Check


def test_the_table_has_before_after_and_change(report: Report) -> None:
    assert "| File size | 4.00 KiB | 1.00 KiB | 4.0x smaller |" in render_model_card(report).splitlines()


def test_a_paired_difference_is_called_so(report: Report, paired: Comparison) -> None:
    card = render_model_card(replace(report, comparison=paired))
    assert "n = 200, 2 gained, 3 lost) | -0.5 points (95 %: -3.0 to +2.0 points, paired) |" in card


def test_every_row_of_a_table_has_the_columns_of_its_head(report: Report) -> None:
    tables = re.findall(r"(?:^\|.*\n)+", render_model_card(report), re.MULTILINE)
    counts = [{len(re.findall(r"(?<!\\)\|", row)) for row in table.splitlines()} for table in tables]
    assert [len(count) for count in counts] == [1, 1]


def test_it_holds_the_recipe_the_program_and_the_command(report: Report) -> None:
    card = render_model_card(report)
    for piece in ("name: int8", "onnxruntime.InferenceSession", report.command):
        assert piece in card


@pytest.mark.parametrize(("outcome", "said"), [("passed", "**Verified:**"), ("failed", "**Gate missed:**")])
def test_it_says_whether_to_ship_the_file(report: Report, outcome: str, said: str) -> None:
    check = Check(name=SAME_ANSWER, value="1", outcome="passed" if outcome == "passed" else "failed")
    assert said in render_model_card(replace(report, verification=(check,)))


def test_what_was_left_alone_is_among_the_limits(report: Report) -> None:
    limits = render_model_card(report).partition("## Limits")[2]
    assert "norm' (linear_quantization): has no weights" in limits


def test_modules_that_share_a_reason_share_a_line(report: Report) -> None:
    left = [LeftAlone(module=f"conv{index}", reason="why", pass_name="p") for index in range(9)]
    card = render_model_card(replace(report, left_alone=(*left, *report.left_alone)))
    lines = [line for line in card.splitlines() if line.startswith("- Left alone")]
    assert len(lines) == 2
    assert "'conv5' and 3 more (p): why" in lines[0]


def test_a_bare_report_says_what_is_missing(bare_report: Report) -> None:
    card = render_model_card(bare_report)
    assert "**Not verified:**" in card
    assert "not measured: no data was given" in card


def test_hostile_names_stay_text(report: Report) -> None:
    evil = "<script>alert(1)</script> | [x](y)\n# heading"
    left = LeftAlone(module=evil, reason=evil, pass_name=evil)
    card = render_model_card(replace(report, name=evil, left_alone=(left,)))
    assert not re.search(r"(?<!\\)<script|^# heading", card, re.MULTILINE)


@pytest.mark.parametrize(
    ("content", "expected"), [("a|b", r"a\|b"), ("x < 3", "x < 3"), ("a\nb", "a b"), ("*`", r"\*\`")], ids=repr
)
def test_only_what_markdown_would_read_is_escaped(content: str, expected: str) -> None:
    assert plain(content) == expected


def test_a_fence_is_longer_than_the_fences_inside() -> None:
    assert fenced("````\nx") == "`````\n````\nx\n`````"
