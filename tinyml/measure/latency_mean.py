"""Mean latency over a stream of examples, for networks with exits, which take longer for some than for others.

    mean = sum over exits of (share of the calls that left there) x (median of those calls)

The mean of the raw times would count every hiccup of the machine as if it were the network's: on a busy machine it is
twice the median, for any network. A network without exits has one kind of call, and its mean is its median. The raw
mean stands among the details.
"""

from typing import Final

import numpy as np
from numpy.typing import NDArray

from tinyml.measure.latency import LatencyRun, judge, noise_band
from tinyml.measure.measurement import Measurement
from tinyml.measure.statistics import middle_95

_RESAMPLES: Final = 1000


def latency_mean_ms(run: LatencyRun, *, seed: int) -> Measurement:
    """Return the mean latency over the stream; `details` has calls and median by exit. The samples: `latency_ms`."""
    samples = run.times.samples_ms
    exits = _exits_of_calls(run.taken, samples)
    details: dict[str, float | int | str] = {"mean_of_calls_ms": float(samples.mean())}
    for index in np.unique(exits) if len(run.taken) else ():
        own = samples[exits == index]
        details |= {f"exit_{index}_calls": own.size, f"exit_{index}_median_ms": float(np.median(own))}
    return Measurement(
        metric="latency_mean_ms",
        value=mean_of_medians(samples, exits),
        unit="ms",
        interval=middle_95(_resampled(samples, exits, seed)),
        n=samples.size,
        details=details,
    )


def latency_mean_ratio(run: LatencyRun, *, seed: int) -> Measurement:
    """Return the baseline's mean over this network's, on the same examples; for the baseline that of its own copy."""
    beside = run.control if run.is_baseline else run.times
    taken = run.baseline_taken if run.is_baseline else run.taken
    before, copied, after = (
        _Means(times.samples_ms, _exits_of_calls(exits, times.samples_ms), seed)
        for times, exits in (
            (run.baseline, run.baseline_taken),
            (run.control, run.baseline_taken),
            (beside, taken),
        )
    )
    control_interval = middle_95(before.resampled / copied.resampled)
    interval = middle_95(before.resampled / after.resampled)
    low, high = noise_band(control_interval)
    return Measurement(
        metric="latency_mean_ratio",
        value=before.mean / after.mean,
        unit="x",
        interval=interval,
        n=beside.samples_ms.size,
        details={
            "verdict": "A/A control" if run.is_baseline else judge(interval, control_interval),
            "control": before.mean / copied.mean,
            "band_low": low,
            "band_high": high,
            "ratio_of_means_of_calls": float(run.baseline.samples_ms.mean() / beside.samples_ms.mean()),
        },
    )


def mean_of_medians(samples_ms: NDArray[np.float64], exits: NDArray[np.int64]) -> float:
    """Return the sum over exits of the share of the calls that left there times their median; see the module.

    Args:
        samples_ms: of any shape.
        exits: the exit of each call, of the same shape.
    """
    own = [samples_ms[exits == index] for index in np.unique(exits)]
    total: float = sum(each.size * float(np.median(each)) for each in own)
    return total / int(samples_ms.size)


class _Means:
    """The mean of one candidate, and that of each resample of its rounds; the same seed resamples the same rounds."""

    def __init__(self, samples_ms: NDArray[np.float64], exits: NDArray[np.int64], seed: int) -> None:
        self.mean = mean_of_medians(samples_ms, exits)
        self.resampled = _resampled(samples_ms, exits, seed)


def _resampled(samples_ms: NDArray[np.float64], exits: NDArray[np.int64], seed: int) -> NDArray[np.float64]:
    rounds = np.random.default_rng(seed).integers(0, len(samples_ms), size=(_RESAMPLES, len(samples_ms)))
    return np.array([mean_of_medians(samples_ms[rows], exits[rows]) for rows in rounds])


def _exits_of_calls(taken: NDArray[np.int64], samples_ms: NDArray[np.float64]) -> NDArray[np.int64]:
    """Return the exit of each call (rounds, block): the stream begins anew when it ends; 0 without exits."""
    return np.resize(taken, samples_ms.shape) if len(taken) else np.zeros(samples_ms.shape, np.int64)
