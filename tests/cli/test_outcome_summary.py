"""What is printed when a run is done."""

from pathlib import Path

import pytest

from tinyml.cli.outcome_summary import show_outcome
from tinyml.measure.measurement import Measurement
from tinyml.pipeline import Outcome
from tinyml.report.report import LeftAlone
from tinyml.verification import Verification

SIZE = {"size_bytes": Measurement(metric="size_bytes", value=3.0, unit="bytes")}


def printed(capsys: pytest.CaptureFixture[str], left: tuple[LeftAlone, ...]) -> str:
    files = {"baseline": SIZE, "model": SIZE}
    outcome = Outcome(path=Path("run"), measurements=files, verification=Verification(checks=()), left_alone=left)
    show_outcome(outcome, as_json=False)
    return capsys.readouterr().out


def test_layers_that_are_left_alone_for_one_reason_are_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    many = [LeftAlone(module=f"conv{index}", reason="why", pass_name="quantize") for index in range(16)]
    said = printed(capsys, (*many, LeftAlone(module="", reason="it is odd", pass_name="prune")))
    assert (
        "\nleft alone, wholly or in part:\n"
        "  quantize: 'conv0', 'conv1', 'conv2', 'conv3', 'conv4', 'conv5' and 10 more: why\n"
        "  prune: the whole network: it is odd\n"
    ) in said


def test_where_nothing_is_left_alone_nothing_is_said_of_it(capsys: pytest.CaptureFixture[str]) -> None:
    assert "left alone" not in printed(capsys, ())
