"""Percentiles and 95 % intervals: pure functions of arrays.

    Wilson (1927), 95 %:  (p + z²/2n ± z sqrt(p(1-p)/n + z²/4n²)) / (1 + z²/n)     z = 1.959964
    bootstrap:            percentiles 2.5 and 97.5 of the statistic over resampled data (Efron 1979)

Times are resampled by round, not one by one: calls of one round share the machine's mood, and treating them as
independent would promise too narrow an interval.

The difference of two shares p, q of the same n examples, with Wilson's intervals (l_p, u_p) and (l_q, u_q), has the
score interval of Newcombe, "Improved confidence intervals for the difference between binomial proportions based on
paired data", Statistics in Medicine 17 (1998) 2635-2650, method 10:

    low  = q - p - sqrt((q - l_q)² - 2 φ (q - l_q)(u_p - p) + (u_p - p)²)
    high = q - p + sqrt((u_q - q)² - 2 φ (u_q - q)(p - l_p) + (p - l_p)²)
    φ    = max(D - n/2, 0) / sqrt(A) for D > 0, D / sqrt(A) else; 0 for A = 0
    D    = both x neither - lost x gained,    A = the product of the four sums of the table's rows and columns
"""

from dataclasses import dataclass
from typing import Any, Final, final

import numpy as np
from numpy.typing import NDArray

from tinyml.data.roc import roc_auc

Z_95: Final = 1.959963984540054
_SAMPLES_NEEDED: Final = {50: 1, 90: 64, 99: 662}
_RESAMPLES: Final = 2000
_BLOCK_OF_RESAMPLES: Final = 250


def percentiles(samples: NDArray[np.float64]) -> tuple[dict[str, float], tuple[str, ...]]:
    """Return the percentiles p50, p90 and p99 that the samples are enough for, and a sentence for each other."""
    enough = [percent for percent, needed in _SAMPLES_NEEDED.items() if samples.size >= needed]
    missing = tuple(
        f"p{percent}: {samples.size} samples, {needed} needed"
        for percent, needed in _SAMPLES_NEEDED.items()
        if percent not in enough
    )
    return {f"p{percent}": float(np.percentile(samples, percent)) for percent in enough}, missing


def wilson_interval(successes: int, n: int) -> tuple[float, float]:
    """Return Wilson's 95 % interval of a share of `successes` in `n` > 0 trials, within 0-1."""
    share = successes / n
    centre = share + Z_95**2 / (2 * n)
    half = Z_95 * float(np.sqrt(share * (1 - share) / n + Z_95**2 / (4 * n * n)))
    scale = 1 + Z_95**2 / n
    low = (centre - half) / scale if successes else 0.0  # exactly, where rounding would leave 1e-17
    return low, (centre + half) / scale if successes < n else 1.0


def paired_difference_interval(*, both: int, lost: int, gained: int, neither: int) -> tuple[float, float]:
    """Return Newcombe's 95 % interval of the share after minus the share before, of the same examples; within -1 to 1.

    Args:
        both: examples that succeed before and after.
        lost: examples that succeed before only.
        gained: examples that succeed after only.
        neither: examples that never succeed. There is at least one example in all.
    """
    n = both + lost + gained + neither
    before, after = (both + lost) / n, (both + gained) / n
    low_before, high_before = wilson_interval(both + lost, n)
    low_after, high_after = wilson_interval(both + gained, n)
    product = (both + lost) * (gained + neither) * (both + gained) * (lost + neither)
    together: float = both * neither - lost * gained
    if together > 0:
        together = max(together - n / 2, 0)
    correlation = together / product**0.5 if product else 0.0

    def joined(first: float, second: float) -> float:
        return float(np.sqrt(first**2 - 2 * correlation * first * second + second**2))

    difference = (gained - lost) / n
    return (
        difference - joined(after - low_after, high_before - before),
        difference + joined(high_after - after, before - low_before),
    )


@final
@dataclass(frozen=True, kw_only=True)
class Times:
    """Times of one candidate, with what its bootstraps share.

    Attributes:
        samples_ms: milliseconds (rounds, block).
        medians_ms: median of each resample (resamples,); the same seed resamples the same rounds of every candidate.
    """

    samples_ms: NDArray[np.float64]
    medians_ms: NDArray[np.float64]


def resampled_times(samples_ms: NDArray[np.float64], *, seed: int) -> Times:
    """Return times (rounds, block) with the medians of their resamples."""
    generator = np.random.default_rng(seed)
    medians = []
    for _ in range(_RESAMPLES // _BLOCK_OF_RESAMPLES):  # in blocks: all at once would hold gigabytes for long runs
        rounds = generator.integers(0, len(samples_ms), size=(_BLOCK_OF_RESAMPLES, len(samples_ms)))
        medians.append(np.median(samples_ms[rounds].reshape(_BLOCK_OF_RESAMPLES, -1), axis=1))
    return Times(samples_ms=samples_ms, medians_ms=np.concatenate(medians))


def ratio_of_medians(baseline: Times, candidate: Times) -> tuple[float, tuple[float, float]]:
    """Return median(baseline) / median(candidate) and its 95 % bootstrap interval; above 1, the candidate is faster.

    Both were timed in the same rounds and resampled with the same seed: a round is resampled for both together.
    """
    ratio = float(np.median(baseline.samples_ms) / np.median(candidate.samples_ms))
    return ratio, middle_95(baseline.medians_ms / candidate.medians_ms)


def median_interval(times: Times) -> tuple[float, float]:
    """Return the 95 % bootstrap interval of the median, resampled by round."""
    return middle_95(times.medians_ms)


def area_under_roc_interval(
    scores: NDArray[np.float64], positive: NDArray[np.bool_], *, seed: int, resamples: int = 1000
) -> tuple[float, float]:
    """Return the 95 % bootstrap interval of `tinyml.data.roc.roc_auc`; positives and negatives are resampled apart."""
    generator = np.random.default_rng(seed)
    high, low = scores[positive], scores[~positive]
    labels = np.concatenate([np.ones(high.size, np.bool_), np.zeros(low.size, np.bool_)])
    areas = [
        roc_auc(np.concatenate([generator.choice(high, high.size), generator.choice(low, low.size)]), labels)
        for _ in range(resamples)
    ]
    return middle_95(np.asarray(areas))


def middle_95(values: NDArray[Any]) -> tuple[float, float]:
    """Return the percentiles 2.5 and 97.5."""
    low, high = np.percentile(values, [2.5, 97.5])
    return float(low), float(high)
