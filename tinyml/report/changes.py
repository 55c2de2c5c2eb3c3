"""What the change of a metric is called, and whether it is one that a user wants.

    bytes, MACs, parameters   before / after                        "3.6x smaller"
    latency                   the measured ratio with its interval  "1.62x faster", "1.58x to 1.66x"
    accuracy                  after - before in percentage points   "-0.20 points", "-0.60 to +0.20 points"

A difference of accuracies is measured pair by pair, on the same examples ("paired"; `tinyml.measure.statistics`). Where
it was not, its interval is that of Newcombe, "Interval estimation for the difference between independent proportions",
Statistics in Medicine 17 (1998) 873-890, method 10, from the intervals l-u of both shares. It takes the two for
independent ("unpaired"); on the same examples the true interval is narrower:

    low  = d - sqrt((after - l_after)² + (u_before - before)²)
    high = d + sqrt((u_after - after)² + (before - l_before)²)
"""

from collections.abc import Mapping
from dataclasses import dataclass
from math import hypot
from typing import Final, Literal, final

from tinyml.measure.measurement import Measurement
from tinyml.measure.table import METRICS
from tinyml.report.units import points_text, ratio_text

Verdict = Literal["better", "worse", "same", "unknown"]


@final
@dataclass(frozen=True, kw_only=True)
class Wording:
    """How a metric is called, and what less and more of it are called."""

    label: str
    less: str = "less"
    more: str = "more"


@final
@dataclass(frozen=True, kw_only=True)
class Change:
    """What became of a number.

    Attributes:
        text: "3.6x smaller"; "" for the baseline itself.
        interval: "1.58x to 1.66x", the 95 % interval; "" where there is none.
        verdict: whether a user wants it; "same" where noise explains it too.
    """

    text: str = ""
    interval: str = ""
    verdict: Verdict = "unknown"


NO_CHANGE: Final = Change()
# In the order of the table. A metric that is not here comes behind them, called by its name in words.
WORDINGS: Final = {
    "accuracy": Wording(label="Accuracy"),
    "auc": Wording(label="Area under ROC curve"),
    "size_bytes": Wording(label="File size", less="smaller", more="larger"),
    "size_gzip_bytes": Wording(label="File size after gzip", less="smaller", more="larger"),
    "entropy_bytes": Wording(label="File size, weights Huffman-coded, at best", less="smaller", more="larger"),
    "loaded_bytes": Wording(label="Constants in memory", less="smaller", more="larger"),
    "latency_ms": Wording(label="Latency, median", less="faster", more="slower"),
    "latency_mean_ms": Wording(label="Latency, mean over the examples", less="faster", more="slower"),
    "early_exits": Wording(label="Left at an early exit"),
    "peak_activation_bytes": Wording(label="Peak activation memory", less="smaller", more="larger"),
    "macs": Wording(label="Multiply-adds (MACs)", less="fewer"),
    "parameters": Wording(label="Parameters", less="fewer"),
    "parameters_nonzero": Wording(label="Non-zero parameters", less="fewer"),
}
# Changes that were measured themselves; they belong into the row of the metric that they are about.
MEASURED_CHANGES: Final = {
    "latency_ms": "latency_ratio",
    "latency_mean_ms": "latency_mean_ratio",
    "accuracy": "accuracy_difference",
}
_NOISE: Final = "within the A/A band"


def wording(metric: str) -> Wording:
    """Return how the metric is called."""
    if metric in WORDINGS:
        return WORDINGS[metric]
    return Wording(label=metric.replace("_", " "))


def measured_change(metric: str, subject: Mapping[str, Measurement]) -> Measurement | None:
    """Return the measured change of a metric among a subject's measurements, or None where it was not measured."""
    return subject.get(MEASURED_CHANGES.get(metric, ""))


def change_of(before: Measurement, after: Measurement, measured: Measurement | None) -> Change:
    """Return the change from the baseline's measurement to the subject's.

    Args:
        before: the baseline's.
        after: the subject's, of the same metric.
        measured: the measured change, where there is one: before / after as unit "x", after - before as "share".
    """
    if after.unit == "share":
        return _difference(before, after, measured)
    if measured is not None:
        return _measured_ratio(after.metric, measured)
    if before.value <= 0 or after.value <= 0:
        return Change(text="same", verdict="same") if before.value == after.value else NO_CHANGE
    ratio = before.value / after.value
    text = ratio_text(ratio, wording(after.metric).less, wording(after.metric).more)
    return Change(text=text, verdict="same" if text == "same" else _verdict(after.metric, became_less=ratio > 1))


def _measured_ratio(metric: str, measured: Measurement) -> Change:
    """Return the change that a ratio before / after with its interval makes."""
    words, ratio = wording(metric), measured.value
    low, high = measured.interval or (ratio, ratio)
    if measured.details.get("verdict") == _NOISE or low <= 1 <= high:
        return Change(text="no difference measurable", interval=f"{low:.2f}x to {high:.2f}x", verdict="same")
    if ratio < 1:
        low, high = 1 / high, 1 / low
    return Change(
        text=f"{max(ratio, 1 / ratio):.2f}x {words.less if ratio > 1 else words.more}",
        interval=f"{low:.2f}x to {high:.2f}x" if measured.interval else "",
        verdict=_verdict(metric, became_less=ratio > 1),
    )


def _difference(before: Measurement, after: Measurement, measured: Measurement | None) -> Change:
    """Return a change of shares, in percentage points."""
    difference = measured.value if measured else after.value - before.value
    interval = measured.interval if measured else _newcombe(before, after)
    unchanged = interval[0] <= 0 <= interval[1] if interval else difference == 0
    ends = " to ".join(points_text(end, after.n) for end in interval or ()).replace(" points", "", 1)
    return Change(
        text=points_text(difference, after.n),
        interval=f"{ends}, {'paired' if measured else 'unpaired'}" if ends else "",
        verdict="same" if unchanged else _verdict(after.metric, became_less=difference < 0),
    )


def _newcombe(before: Measurement, after: Measurement) -> tuple[float, float] | None:
    """Return the interval of after - before for independent shares, or None where one has no interval."""
    if before.interval is None or after.interval is None:
        return None
    difference = after.value - before.value
    low = hypot(after.value - after.interval[0], before.interval[1] - before.value)
    high = hypot(after.interval[1] - after.value, before.value - before.interval[0])
    return difference - low, difference + high


def _verdict(metric: str, *, became_less: bool) -> Verdict:
    """Return whether less, or more, of the metric is what a user wants."""
    better = METRICS[metric].better if metric in METRICS else "neither"
    if better == "neither":
        return "unknown"
    return "better" if became_less == (better == "lower") else "worse"
