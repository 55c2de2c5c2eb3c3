"""The facts of a report."""

from dataclasses import replace

import pytest
from pydantic import TypeAdapter

from tinyml.report.report import Report
from tinyml.verification.agreement import LARGEST_DIFFERENCE, RELATIVE_DIFFERENCE, SAME_ANSWER
from tinyml.verification.check import Check, Outcome


def test_a_report_survives_json(report: Report) -> None:
    adapter = TypeAdapter(Report)
    assert adapter.validate_json(adapter.dump_json(report)) == report


@pytest.mark.parametrize("name", [SAME_ANSWER, LARGEST_DIFFERENCE, RELATIVE_DIFFERENCE])
@pytest.mark.parametrize(
    ("outcome", "verdict"), [("passed", "verified"), ("failed", "gate missed"), ("noted", "not verified")]
)
def test_a_file_is_verified_by_a_comparison_that_had_a_bound(
    report: Report, name: str, outcome: Outcome, verdict: str
) -> None:
    structure = Check(name="ONNX structure", value="valid", outcome="passed")
    checks = (structure, Check(name=name, value="1", outcome=outcome))
    assert replace(report, verification=checks).verdict == verdict


def test_a_sound_structure_alone_verifies_nothing(report: Report) -> None:
    structure = Check(name="ONNX structure", value="valid", outcome="passed")
    assert replace(report, verification=(structure,)).verdict == "not verified"
