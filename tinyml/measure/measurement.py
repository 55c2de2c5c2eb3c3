"""One measured quantity with its unit, its uncertainty and what could not be counted; to JSON and back."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import final

from tinyml.errors import CheckpointError

Measurements = dict[str, dict[str, "Measurement"]]
"""Measurements by subject ("baseline", "model") and metric."""

_KEYS = {"metric", "value", "unit", "interval", "n", "samples", "details", "not_counted", "estimated"}


@final
@dataclass(frozen=True, kw_only=True)
class Measurement:
    """One measured quantity.

    Attributes:
        metric: its name in METRICS.
        value: the number, in `unit`.
        unit: "bytes", "MACs", "ms", "share" (0-1), "x" (a ratio), "parameters".
        interval: 95 % interval of the value, where one is known.
        n: number of examples or samples behind the value, where there are such.
        samples: the raw samples, in the order they were taken; empty where there are none.
        details: more numbers and words about the same quantity.
        not_counted: what should be in the value and is not, in words.
        estimated: whether the value was computed by a model of the machine and not measured or counted.
    """

    metric: str
    value: float
    unit: str
    interval: tuple[float, float] | None = None
    n: int | None = None
    samples: tuple[float, ...] = ()
    details: Mapping[str, float | int | str] = field(default_factory=dict)
    not_counted: tuple[str, ...] = ()
    estimated: bool = False

    def to_json(self) -> dict[str, object]:
        """Return the measurement as JSON values; what is empty or unknown is left out.

        Raises:
            ValueError: a number is NaN or infinite, which JSON has no word for.
        """
        numbers = [self.value, *(self.interval or ()), *self.samples]
        numbers += [entry for entry in self.details.values() if isinstance(entry, float)]
        if not all(math.isfinite(number) for number in numbers):
            raise ValueError(f"measurement '{self.metric}' holds a number that is not finite")
        facts: dict[str, object] = {"metric": self.metric, "value": self.value, "unit": self.unit}
        if self.interval is not None:
            facts["interval"] = list(self.interval)
        if self.n is not None:
            facts["n"] = self.n
        if self.samples:
            facts["samples"] = list(self.samples)
        if self.details:
            facts["details"] = dict(self.details)
        if self.not_counted:
            facts["not_counted"] = list(self.not_counted)
        if self.estimated:
            facts["estimated"] = True
        return facts

    @staticmethod
    def from_json(facts: Mapping[str, object]) -> "Measurement":
        """Return the measurement that `to_json` wrote.

        Raises:
            CheckpointError: a key is missing or unknown, or a value has another type than it should.
        """
        missing = {"metric", "value", "unit"} - facts.keys()
        unknown = facts.keys() - _KEYS
        if missing or unknown:
            raise CheckpointError(f"A measurement has {_wrong_keys(missing, unknown)}; it is not one of tinyml's.")
        n = facts.get("n")
        return Measurement(
            metric=str(facts["metric"]),
            value=_number(facts["value"]),
            unit=str(facts["unit"]),
            interval=_interval(facts.get("interval")),
            n=None if n is None else int(_number(n)),
            samples=tuple(_number(sample) for sample in _items(facts.get("samples", []))),
            details=_details(facts.get("details", {})),
            not_counted=tuple(str(entry) for entry in _items(facts.get("not_counted", []))),
            estimated=bool(facts.get("estimated", False)),
        )


def to_json(measurements: Mapping[str, Mapping[str, Measurement]]) -> dict[str, dict[str, dict[str, object]]]:
    """Return the measurements of all subjects as JSON values: what metrics.json holds."""
    return {
        subject: {metric: entry.to_json() for metric, entry in entries.items()}
        for subject, entries in measurements.items()
    }


def from_json(facts: Mapping[str, Mapping[str, Mapping[str, object]]]) -> Measurements:
    """Return the measurements that `to_json` wrote.

    Raises:
        CheckpointError: the JSON is not one that tinyml wrote.
    """
    try:
        return {
            subject: {metric: Measurement.from_json(entry) for metric, entry in entries.items()}
            for subject, entries in facts.items()
        }
    except AttributeError as error:
        raise CheckpointError("The measurements are not objects of subjects and metrics.") from error


def _wrong_keys(missing: set[str], unknown: set[str]) -> str:
    """Return "no 'unit', an unknown 'colour'"."""
    said = [f"no '{key}'" for key in sorted(missing)] + [f"an unknown '{key}'" for key in sorted(unknown)]
    return ", ".join(said)


def _number(value: object) -> float:
    """Return a JSON number, as it is."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise CheckpointError(f"A measurement holds {value!r} where a number should be.")
    return value


def _items(value: object) -> list[object]:
    """Return a JSON list."""
    if not isinstance(value, list):
        raise CheckpointError(f"A measurement holds {value!r} where a list should be.")
    return value


def _interval(value: object) -> tuple[float, float] | None:
    """Return a JSON list of two numbers as a pair."""
    if value is None:
        return None
    numbers = [_number(entry) for entry in _items(value)]
    if len(numbers) != 2:
        raise CheckpointError(f"A measurement holds {value!r} where two numbers should be.")
    return numbers[0], numbers[1]


def _details(value: object) -> dict[str, float | int | str]:
    """Return a JSON object of numbers and words."""
    if not isinstance(value, dict):
        raise CheckpointError(f"A measurement holds {value!r} where an object should be.")
    return {str(key): entry if isinstance(entry, str) else _number(entry) for key, entry in value.items()}
