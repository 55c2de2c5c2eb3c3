"""The facts of a report."""

from pydantic import TypeAdapter

from tinyml.report.report import Report


def test_a_report_survives_json(report: Report) -> None:
    adapter = TypeAdapter(Report)
    assert adapter.validate_json(adapter.dump_json(report)) == report
