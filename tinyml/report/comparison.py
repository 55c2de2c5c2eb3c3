"""The before/after table as facts, made once from measurements and drawn three times: terminal, page, model card."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, final

from tinyml.measure.measurement import Measurement
from tinyml.report.changes import MEASURED_CHANGES, NO_CHANGE, WORDINGS, Change, change_of, measured_change, wording
from tinyml.report.units import number_text, range_text

NOT_MEASURED: Final = "not measured"
_SUBJECTS: Final = {"baseline": "before", "model": "after"}
_REASONS: Final = {"accuracy": "no data was given (--data names it)", "early_exits": "there are no exits"}
_SCORES: Final = ("accuracy", "auc")


@final
@dataclass(frozen=True, kw_only=True)
class Cell:
    """One number of the table.

    Attributes:
        value: "269 KiB", or "not measured".
        interval: "86.70 to 88.50 %", the 95 % interval; "" where there is none.
        note: more about it: "n = 5,000, p90 1.90 ms".
        change: against the first column.
    """

    value: str
    interval: str = ""
    note: str = ""
    change: Change = NO_CHANGE


@final
@dataclass(frozen=True, kw_only=True)
class ComparisonRow:
    """One metric over all subjects.

    Attributes:
        metric: its name in metrics.json.
        label: its name for readers.
        cells: one for each subject.
        estimated: whether the numbers come from a model of the machine, not from measuring or counting.
        notes: what was not counted, or why it was not measured.
    """

    metric: str
    label: str
    cells: tuple[Cell, ...]
    estimated: bool = False
    notes: tuple[str, ...] = ()


@final
@dataclass(frozen=True, kw_only=True)
class Comparison:
    """Rows of metrics over columns of subjects; the first subject is what the others are compared with."""

    subjects: tuple[str, ...]
    rows: tuple[ComparisonRow, ...]

    def row(self, metric: str) -> ComparisonRow | None:
        """Return the row of a metric, or None where the table has none."""
        return next((row for row in self.rows if row.metric == metric), None)


def compare_measurements(
    measurements: Mapping[str, Mapping[str, Measurement]], *, reasons: Mapping[str, str] | None = None
) -> Comparison:
    """Return the table of the measurements; the first subject is the baseline.

    Where no score was measured, accuracy has a row all the same: a reader who misses it should learn why it is missing.

    Args:
        measurements: by subject ("baseline", "model", or the names of files) and metric.
        reasons: why a metric was not measured, by metric.
    """
    present = {metric: None for of_subject in measurements.values() for metric in of_subject}
    if not any(score in present for score in _SCORES):
        present["accuracy"] = None
    wanted = [metric for metric in WORDINGS if metric in present]
    wanted += [metric for metric in present if metric not in {*WORDINGS, *MEASURED_CHANGES.values()}]
    explained = {**_REASONS, **(reasons or {})}
    return Comparison(
        subjects=tuple(_SUBJECTS.get(subject, subject) for subject in measurements),
        rows=tuple(_row(metric, measurements, explained.get(metric, "")) for metric in wanted),
    )


def _row(metric: str, measurements: Mapping[str, Mapping[str, Measurement]], reason: str) -> ComparisonRow:
    """Return the row of one metric."""
    found = [of_subject[metric] for of_subject in measurements.values() if metric in of_subject]
    notes = dict.fromkeys(f"not counted: {item}" for measurement in found for item in measurement.not_counted)
    if len(found) < len(measurements):
        notes[f"{NOT_MEASURED}: {reason}" if reason else NOT_MEASURED] = None
    subjects = list(measurements.values())
    first = subjects[0].get(metric) if subjects else None
    return ComparisonRow(
        metric=metric,
        label=wording(metric).label,
        cells=tuple(_cell(metric, first if place else None, subject) for place, subject in enumerate(subjects)),
        estimated=any(measurement.estimated for measurement in found),
        notes=tuple(notes),
    )


def _cell(metric: str, before: Measurement | None, subject: Mapping[str, Measurement]) -> Cell:
    """Return the cell of one metric of one subject; the baseline has nothing before it."""
    measurement = subject.get(metric)
    if measurement is None:
        return Cell(value=NOT_MEASURED)
    change = measured_change(metric, subject)
    return Cell(
        value=number_text(measurement.value, measurement.unit, measurement.n),
        interval=range_text(*measurement.interval, measurement.unit, measurement.n) if measurement.interval else "",
        note=_note(measurement, change),
        change=change_of(before, measurement, change) if before else NO_CHANGE,
    )


def _note(measurement: Measurement, change: Measurement | None) -> str:
    """Return "n = 5,000", with the tails of a latency behind it, or what an accuracy gained and lost."""
    parts = [f"n = {measurement.n:,}"] if measurement.n is not None else []
    for tail in ("p90", "p99"):
        value = measurement.details.get(f"{tail}_{measurement.unit}")
        if isinstance(value, int | float):
            parts.append(f"{tail} {number_text(value, measurement.unit)}")
    if change is not None:
        counts = [(name, change.details.get(name)) for name in ("gained", "lost")]
        parts += [f"{count:,} {name}" for name, count in counts if isinstance(count, int)]
    return ", ".join(parts)
