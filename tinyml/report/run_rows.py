"""Runs as rows: cells for readers, plain numbers for CSV and JSON."""

from collections.abc import Mapping
from dataclasses import asdict, replace
from typing import Final

from tinyml.analysis.churn import Churn, DepthChurn
from tinyml.measure.measurement import Measurement
from tinyml.report.changes import NO_CHANGE, change_of, measured_change
from tinyml.report.comparison import NOT_MEASURED
from tinyml.report.run_facts import RunComparison, RunFacts, RunGroup, bits_per_weight, score_of
from tinyml.report.units import number_text, points_text, range_text, share_text, significant

ANSWERS: Final = ("#", "run", "kind", "score", "against the baseline", "agreement", "checks")
COSTS: Final = ("#", "run", "file", "share", "gzip", "bits/weight", "memory", "MACs", "latency")
TIMED: Final = ("file", "latency", "95 %", "against the first")
CHURN: Final = ("depth", "examples", "right before", "lost", "gained", "net", "lost of those right", "95 %")
EXPLAINED: Final = (
    "Ranges are 95 % intervals; points are paired, on the same examples before and after.",
    "Share: of the baseline's file. Bits/weight: all stored tensors, biases and scales too, for each parameter.",
    "Memory: constants once loaded. Latency: beside the run's own baseline, in alternation; milliseconds of different "
    "runs do not compare (--remeasure times all files together). Of networks with exits "
    "MACs and latency are means over the examples.",
)
_BYTES: Final = ("size_bytes", "size_gzip_bytes", "loaded_bytes")
Number = str | float | int | None


def answer_rows(group: RunGroup) -> list[list[str]]:
    """Return what each network answers, in the order of ANSWERS; the baseline first. A line break parts a cell."""
    first = ["0", "baseline", "", _score(group.before), "", "", ""]
    return [first, *(_answers(run) for run in group.runs)]


def cost_rows(group: RunGroup) -> list[list[str]]:
    """Return what each file costs, in the order of COSTS; the baseline first."""
    file, packed, memory = _sizes(group.before)
    return [
        ["0", "baseline", file, "", packed, _bits(group.before), memory, _metric(group.before, "macs"), ""],
        *(_costs(run) for run in group.runs),
    ]


def timed_rows(comparison: RunComparison) -> list[list[str]]:
    """Return the files that were timed together, in the order of TIMED; the first has nothing to be compared with."""
    rows, first = [], None
    for name, measured in comparison.timed.items():
        times = measured.get("latency_mean_ms", measured["latency_ms"])  # of a network without exits the median, too
        change = change_of(first, times, measured_change(times.metric, measured)) if first else NO_CHANGE
        rows.append([name, number_text(times.value, times.unit), _range(times), _lines(change.text, change.interval)])
        first = first or times
    return rows


def churn_rows(churn: Churn) -> list[list[str]]:
    """Return the depths, in the order of CHURN, and all examples last."""
    return [_churn_row(row) for row in (*churn.by_depth, churn.total)]


def numbers(run: RunFacts, group: RunGroup) -> dict[str, Number]:
    """Return a run as one flat row: text, and numbers in bytes, shares (0-1), points and ratios; None is unknown."""
    score, before = score_of(run.after), score_of(run.before)
    low, high = score.interval if score is not None and score.interval else (None, None)
    lowest, highest = run.points_interval or (None, None)
    ratio = run.after["latency_ratio"]
    return {
        "number": run.number,
        "run": run.name,
        "label": run.label,
        "recipe": run.recipe,
        "passes": "; ".join(run.passes),
        "kind": run.kind,
        "target": run.target,
        "baseline": group.name,
        "score": score.metric if score else None,
        "score_value": score.value if score else None,
        "score_low": low,
        "score_high": high,
        "score_n": score.n if score else None,
        "baseline_score": before.value if before else None,
        "points": run.points,
        "points_low": lowest,
        "points_high": highest,
        **{metric: _value(run.after, metric) for metric in _BYTES},
        "baseline_size_bytes": _value(run.before, "size_bytes"),
        "size_share": run.size_share,
        "bits_per_weight": bits_per_weight(run.after),
        "macs": _value(run.after, "macs"),
        "latency_ratio": ratio.value,
        "latency_ratio_low": ratio.interval[0] if ratio.interval else None,
        "latency_ratio_high": ratio.interval[1] if ratio.interval else None,
        "latency_verdict": str(ratio.details.get("verdict", "")),
        "agreement": run.agreement,
        "checks": run.gates,
    }


def comparison_json(comparison: RunComparison) -> dict[str, object]:
    """Return the comparison as JSON values; the raw samples of latencies stay in the runs."""
    return {
        "groups": [
            {
                "baseline": group.name,
                "measurements": _json(group.before),
                "runs": [
                    {
                        **numbers(run, group),
                        "passes": list(run.passes),
                        "checks": [asdict(check) for check in run.verification.checks],
                        "measurements": {"baseline": _json(run.before), "model": _json(run.after)},
                    }
                    for run in group.runs
                ],
            }
            for group in comparison.groups
        ],
        "notes": list(comparison.notes),
        "timed_together": {name: _json(measured) for name, measured in comparison.timed.items()},
        "churn": {
            label: {
                "by_depth": [row.to_json() for row in found.by_depth],
                "total": found.total.to_json(),
                "dense_alike": found.dense_alike,
            }
            for label, found in comparison.churn.items()
        },
    }


def _answers(run: RunFacts) -> list[str]:
    before, after = score_of(run.before), score_of(run.after)
    change = ""
    if before is not None and after is not None:
        found = change_of(before, after, measured_change(after.metric, run.after))
        change = _lines(found.text, found.interval)
    return [str(run.number), run.label, run.kind, _score(run.after), change, run.agreement, run.gates]


def _costs(run: RunFacts) -> list[str]:
    file, packed, memory = _sizes(run.after)
    metric = "latency_mean_ms" if "latency_mean_ms" in run.after else "latency_ms"
    latency = change_of(run.before[metric], run.after[metric], measured_change(metric, run.after))
    share = share_text(run.size_share)
    macs = _metric(run.after, "macs")
    times = _lines(latency.text, latency.interval)
    return [str(run.number), run.label, file, share, packed, _bits(run.after), memory, macs, times]


def _sizes(measurements: Mapping[str, Measurement]) -> list[str]:
    return [_metric(measurements, metric) for metric in _BYTES]


def _metric(measurements: Mapping[str, Measurement], metric: str) -> str:
    found = measurements.get(metric)
    return NOT_MEASURED if found is None else number_text(found.value, found.unit)


def _value(measurements: Mapping[str, Measurement], metric: str) -> float | None:
    found = measurements.get(metric)
    return None if found is None else found.value


def _bits(measurements: Mapping[str, Measurement]) -> str:
    bits = bits_per_weight(measurements)
    return NOT_MEASURED if bits is None else significant(bits)


def _score(measurements: Mapping[str, Measurement]) -> str:
    """Return "87.40 %", with the interval and the number of examples below it."""
    score = score_of(measurements)
    if score is None:
        return NOT_MEASURED
    return _lines(number_text(score.value, score.unit, score.n), _range(score), f"n = {score.n:,}" if score.n else "")


def _range(measurement: Measurement) -> str:
    if measurement.interval is None:
        return ""
    return range_text(*measurement.interval, measurement.unit, measurement.n if measurement.unit == "share" else None)


def _lines(*texts: str) -> str:
    return "\n".join(filter(None, texts))


def _churn_row(row: DepthChurn) -> list[str]:
    shares = ["-", ""]
    if row.lost_share is not None and row.lost_interval is not None:
        shares = [share_text(row.lost_share), range_text(*row.lost_interval, "share")]
    counts = [f"{count:,}" for count in (row.n, row.right_before, len(row.lost), len(row.gained))]
    return ["all" if row.depth is None else str(row.depth), *counts, points_text(row.net), *shares]


def _json(measurements: Mapping[str, Measurement]) -> dict[str, object]:
    return {metric: replace(entry, samples=()).to_json() for metric, entry in measurements.items()}
