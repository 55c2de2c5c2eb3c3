"""Measurements as a person reads them: rounded, with unit and interval."""

from tinyml.measure.measurement import Measurement

_BYTE_STEPS = ((2**30, "GiB"), (2**20, "MiB"), (2**10, "KiB"))
_COUNT_STEPS = ((10**9, "G"), (10**6, "M"))


def spoken(measurement: Measurement) -> str:
    """Return the value with its unit, and its 95 % interval where there is one: "1.523 ms [1.510, 1.540]"."""
    interval = measurement.interval
    if measurement.unit == "share":
        ends = f" [{100 * interval[0]:.2f}, {100 * interval[1]:.2f}]" if interval else ""
        return f"{100 * measurement.value:.2f} %{ends}" + (f" n = {measurement.n:,}" if measurement.n else "")
    if measurement.unit == "bytes":
        return spoken_bytes(measurement.value)
    if measurement.unit in ("MACs", "parameters"):
        listed = " + what is not counted" if measurement.not_counted else ""
        return spoken_count(measurement.value) + listed
    ends = f" [{interval[0]:.3f}, {interval[1]:.3f}]" if interval else ""
    return f"{measurement.value:.3f} {measurement.unit}{ends}"


def spoken_difference(measurement: Measurement) -> str:
    """Return a difference of shares: "-0.25 points [-1.20, +0.70], paired: 3 gained, 4 lost"."""
    low, high = measurement.interval or (measurement.value, measurement.value)
    counts = f"{measurement.details['gained']} gained, {measurement.details['lost']} lost"
    return f"{100 * measurement.value:+.2f} points [{100 * low:+.2f}, {100 * high:+.2f}], paired: {counts}"


def spoken_bytes(size: float) -> str:
    """Return "1.04 MiB", "12.3 KiB", "512 bytes"."""
    for step, unit in _BYTE_STEPS:
        if size >= step:
            return f"{size / step:.2f} {unit}"
    return f"{size:.0f} bytes"


def spoken_count(count: float) -> str:
    """Return "40.55 M", "269,722"."""
    for step, unit in _COUNT_STEPS:
        if count >= step:
            return f"{count / step:.2f} {unit}"
    return f"{count:,.0f}"
