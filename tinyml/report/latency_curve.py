"""The spread of measured latencies as a curve: the share of calls that took at most so long."""

from collections.abc import Sequence
from typing import Final

import numpy as np

from tinyml.report.line_chart import LineChart, Series
from tinyml.report.units import milliseconds_text

_POINTS: Final = 200
_SHOWN: Final = 0.995  # the few longest calls would squeeze all others into a corner


def latency_curve(before_ms: Sequence[float], after_ms: Sequence[float]) -> LineChart:
    """Return the distribution of both sides' samples; a side without samples has no line.

    Args:
        before_ms: raw samples of the baseline, in milliseconds.
        after_ms: raw samples of the file that ships.
    """
    before = _series("before", before_ms)
    after = _series("after", after_ms)
    return LineChart(
        title="Latency of one input",
        x_label="milliseconds",
        y_label="calls that took at most so long, %",
        series=tuple(line for line in (before, after) if line is not None),
        note="The slowest 0.5 % of the calls lie beyond the right end.",
    )


def _series(role: str, samples_ms: Sequence[float]) -> Series | None:
    """Return one side's line: percentiles of its samples."""
    if not samples_ms:
        return None
    shares = np.linspace(0, _SHOWN, _POINTS)
    times = np.quantile(np.asarray(samples_ms), shares)
    return Series(
        name=f"{role}: median {milliseconds_text(float(np.median(samples_ms)))}, {len(samples_ms):,} calls",
        x=tuple(times.tolist()),
        y=tuple((shares * 100).tolist()),
        role="before" if role == "before" else "after",
    )
