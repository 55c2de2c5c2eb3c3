"""What a sealed run directory tells."""

import json
from pathlib import Path

import pytest

from tinyml.errors import CheckpointError, GateMissed
from tinyml.files import write_atomically
from tinyml.manifest import write_manifest
from tinyml.measure.measurement import Measurement, to_json
from tinyml.pipeline.outcome import METRICS, Outcome, facts_to_json, read_outcome
from tinyml.report.report import LeftAlone
from tinyml.verification import Check, Verification

SIZE = Measurement(metric="size_bytes", value=3.0, unit="bytes", interval=(1.0, 5.0), n=2, samples=(2.0, 4.0))


def check(outcome: str, name: str = "agreement") -> Check:
    return Check(name=name, value="0.98", bound=">= 0.99", outcome=outcome, explanation="")  # type: ignore[arg-type]


@pytest.fixture
def outcome(tmp_path: Path) -> Outcome:
    return Outcome(
        path=tmp_path / "run",
        measurements={"baseline": {"size_bytes": SIZE}, "model": {"size_bytes": SIZE}},
        verification=Verification(checks=(check("passed"), check("noted", "saturation"))),
        left_alone=(LeftAlone(module="fc", reason="in the recipe's exclude", pass_name="linear_quantization"),),
    )


def seal(outcome: Outcome) -> None:
    outcome.path.mkdir()
    write_atomically(outcome.path / METRICS, json.dumps(to_json(outcome.measurements)).encode())
    facts = facts_to_json(outcome.verification, outcome.left_alone)
    write_manifest(outcome.path, fingerprint={}, fields=facts)


def test_what_was_sealed_is_read_back_as_equal(outcome: Outcome) -> None:
    seal(outcome)
    assert read_outcome(outcome.path) == outcome


def test_a_directory_without_its_metrics_is_damaged(outcome: Outcome) -> None:
    seal(outcome)
    (outcome.path / METRICS).unlink()
    with pytest.raises(CheckpointError, match=r"is damaged: .*make the run again"):
        read_outcome(outcome.path)


def test_a_directory_that_is_no_run_is_refused(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="is missing"):
        read_outcome(tmp_path)


def test_gates_that_were_met_ask_nothing(outcome: Outcome) -> None:
    assert outcome.verification.passed
    outcome.require_gates()


def test_every_gate_that_was_missed_is_named_with_its_bound(outcome: Outcome) -> None:
    failed = Verification(checks=(check("failed"), check("passed", "structure"), check("failed", "budget")))
    missed = Outcome(path=outcome.path, measurements={}, verification=failed, left_alone=())
    with pytest.raises(GateMissed) as caught:
        missed.require_gates()
    said = str(caught.value)
    assert "agreement: 0.98, must be >= 0.99; budget: 0.98" in said
    assert "structure" not in said
    assert f"'{outcome.path}'" in said
