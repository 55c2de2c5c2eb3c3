"""What a sealed run directory tells: measurements, checks, and what was left alone."""

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, final

from pydantic import JsonValue, TypeAdapter

from tinyml.errors import CheckpointError, GateMissed
from tinyml.manifest import read_manifest
from tinyml.measure.measurement import Measurements, from_json
from tinyml.report.report import LeftAlone
from tinyml.verification import Verification

MODEL = "model.onnx"
METRICS = "metrics.json"


@final
@dataclass(frozen=True, kw_only=True)
class Outcome:
    """What a finished run holds.

    Attributes:
        path: the sealed run directory.
        measurements: of the baseline and of the file that ships.
        verification: every check of the file that ships, gates included.
        left_alone: what the passes did not transform.
    """

    path: Path
    measurements: Measurements
    verification: Verification
    left_alone: tuple[LeftAlone, ...]

    def require_gates(self) -> None:
        """Raise GateMissed, naming every check that failed, where one did."""
        failed = self.verification.failed
        if failed:
            said = "; ".join(f"{check.name}: {check.value}, must be {check.bound}" for check in failed)
            raise GateMissed(f"a gate was missed: {said}. The run is kept in '{self.path}', and its report says more.")


def facts_to_json(verification: Verification, left_alone: Sequence[LeftAlone]) -> dict[str, JsonValue]:
    """Return what the manifest holds of an outcome: the checks, and what was left alone."""
    facts: Any = {"verification": verification.to_json(), "left_alone": [asdict(item) for item in left_alone]}
    checked: dict[str, JsonValue] = facts
    return checked


def read_outcome(path: Path) -> Outcome:
    """Return the outcome that a sealed run directory holds.

    Raises:
        CheckpointError: the directory is no sealed run, or is damaged.
    """
    fields = read_manifest(path, error=CheckpointError).fields
    try:
        return Outcome(
            path=path,
            measurements=from_json(json.loads((path / METRICS).read_text())),
            verification=Verification.from_json(TypeAdapter(dict[str, Any]).validate_python(fields["verification"])),
            left_alone=TypeAdapter(tuple[LeftAlone, ...]).validate_python(fields["left_alone"]),
        )
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise CheckpointError(f"'{path}' is damaged: {error}; make the run again") from error
