"""What changes are called."""

import pytest

from tinyml.measure.measurement import Measurement
from tinyml.report.changes import change_of


def share(value: float, interval: tuple[float, float] | None = None) -> Measurement:
    return Measurement(metric="accuracy", value=value, unit="share", interval=interval, n=1000)


def plain(metric: str, value: float) -> Measurement:
    return Measurement(metric=metric, value=value, unit="bytes")


def ratio(value: float, interval: tuple[float, float], verdict: str = "faster") -> Measurement:
    return Measurement(metric="latency_ratio", value=value, unit="x", interval=interval, details={"verdict": verdict})


@pytest.mark.parametrize(
    ("before", "after", "text", "verdict"),
    [
        (400, 100, "4.0x smaller", "better"),
        (100, 400, "4.0x larger", "worse"),
        (100, 100, "same", "same"),
        (0, 0, "same", "same"),
        (0, 100, "", "unknown"),
    ],
    ids=["smaller", "larger", "equal", "both nothing", "from nothing"],
)
def test_sizes_change_by_a_factor(before: float, after: float, text: str, verdict: str) -> None:
    change = change_of(plain("size_bytes", before), plain("size_bytes", after), None)
    assert (change.text, change.verdict) == (text, verdict)


def test_an_unknown_metric_is_neither_better_nor_worse() -> None:
    change = change_of(plain("energy", 4), plain("energy", 2), None)
    assert (change.text, change.verdict) == ("2.0x less", "unknown")


@pytest.mark.parametrize(
    ("measured", "text", "interval", "verdict"),
    [
        (ratio(1.5, (1.4, 1.6)), "1.50x faster", "1.40x to 1.60x", "better"),
        (ratio(0.5, (0.4, 0.625)), "2.00x slower", "1.60x to 2.50x", "worse"),
        (ratio(1.01, (0.98, 1.04)), "no difference measurable", "0.98x to 1.04x", "same"),
        (ratio(1.03, (1.01, 1.05), "within the A/A band"), "no difference measurable", "1.01x to 1.05x", "same"),
    ],
    ids=["faster", "slower", "the interval holds 1", "the control reaches as far"],
)
def test_latency_changes_by_the_measured_ratio(measured: Measurement, text: str, interval: str, verdict: str) -> None:
    latency = Measurement(metric="latency_ms", value=1, unit="ms")
    change = change_of(latency, latency, measured)
    assert (change.text, change.interval, change.verdict) == (text, interval, verdict)


@pytest.mark.parametrize(
    ("after", "text", "verdict"), [(0.88, "-2.00 points", "worse"), (0.91, "+1.00 points", "better")]
)
def test_accuracy_changes_in_points(after: float, text: str, verdict: str) -> None:
    change = change_of(share(0.9), share(after), None)
    assert (change.text, change.interval, change.verdict) == (text, "", verdict)


def test_independent_intervals_are_joined_as_newcombe_does() -> None:
    # distances to the near ends 0.03 and 0.04: hypot 0.05 on either side of -0.01
    change = change_of(share(0.90, (0.87, 0.94)), share(0.89, (0.86, 0.93)), None)
    assert change.interval == "-6.00 to +4.00 points, unpaired"
    assert change.verdict == "same"


def test_a_measured_difference_goes_before_a_computed_one() -> None:
    measured = Measurement(metric="accuracy_difference", value=-0.01, unit="share", interval=(-0.015, -0.005), n=1000)
    change = change_of(share(0.90, (0.8, 1.0)), share(0.89, (0.8, 1.0)), measured)
    assert (change.interval, change.verdict) == ("-1.50 to -0.50 points, paired", "worse")
