"""Mean latency over a stream of examples, for networks with exits, which take longer for some than for others.

A mean counts every example as often as it comes, and is what a battery pays for; it also counts every hiccup of the
machine, which a median does not. `from_medians_ms` has the shares of the exits and the median of the calls that left at
each: what the mean would be without hiccups.
"""

import numpy as np
from numpy.typing import NDArray

from tinyml.measure.latency import LatencyRun, judge, noise_band
from tinyml.measure.measurement import Measurement
from tinyml.measure.statistics import mean_interval, percentiles, ratio_of_means


def latency_mean_ms(run: LatencyRun, *, seed: int) -> Measurement:
    """Return the mean latency over the stream; `details` has its tails, and the medians of the calls by exit.

    The samples are those of `latency_ms`.
    """
    samples = run.times.samples_ms
    found, missing = percentiles(samples)
    tails = {f"{name}_ms": value for name, value in found.items()}
    return Measurement(
        metric="latency_mean_ms",
        value=float(samples.mean()),
        unit="ms",
        interval=mean_interval(samples, seed=seed),
        n=samples.size,
        details={**tails, **_by_exit(samples.ravel(), run.taken)},
        not_counted=missing,
    )


def latency_mean_ratio(run: LatencyRun, *, seed: int) -> Measurement:
    """Return the baseline's mean over this network's, on the same examples; for the baseline that of its own copy."""
    control, control_interval = ratio_of_means(run.baseline.samples_ms, run.control.samples_ms, seed=seed)
    if run.is_baseline:
        value, interval, words = control, control_interval, "A/A control"
    else:
        value, interval = ratio_of_means(run.baseline.samples_ms, run.times.samples_ms, seed=seed)
        words = judge(interval, control_interval)
    low, high = noise_band(control_interval)
    return Measurement(
        metric="latency_mean_ratio",
        value=value,
        unit="x",
        interval=interval,
        n=run.times.samples_ms.size,
        details={"verdict": words, "control": control, "band_low": low, "band_high": high},
    )


def _by_exit(samples_ms: NDArray[np.float64], taken: NDArray[np.int64]) -> dict[str, float | int | str]:
    """Return calls and median by exit, and the mean that they make; of a network without exits its median alone."""
    if not len(taken):
        return {"from_medians_ms": float(np.median(samples_ms))}
    exits = np.resize(taken, samples_ms.size)  # the stream begins anew when it ends
    details: dict[str, float | int | str] = {}
    total = 0.0
    for index in np.unique(exits):
        own = samples_ms[exits == index]
        details |= {f"exit_{index}_calls": own.size, f"exit_{index}_median_ms": float(np.median(own))}
        total += own.size * float(np.median(own))
    return {**details, "from_medians_ms": total / samples_ms.size}
