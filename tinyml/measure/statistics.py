"""Percentiles and 95 % intervals: pure functions of arrays.

    Wilson (1927), 95 %:  (p + z²/2n ± z sqrt(p(1-p)/n + z²/4n²)) / (1 + z²/n)     z = 1.959964
    bootstrap:            percentiles 2.5 and 97.5 of the statistic over resampled data (Efron 1979)

Times are resampled by round, not one by one: calls of one round share the machine's mood, and treating them as
independent would promise too narrow an interval.
"""

from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from tinyml.data.roc import roc_auc

Z_95: Final = 1.959963984540054
_SAMPLES_NEEDED: Final = {50: 1, 90: 64, 99: 662}
_RESAMPLES: Final = 2000
_BLOCK_OF_RESAMPLES: Final = 250


def samples_needed(percent: int) -> int:
    """Return how many samples a percentile (50, 90 or 99) must have before it is reported."""
    return _SAMPLES_NEEDED[percent]


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


def ratio_of_medians(
    baseline: NDArray[np.float64], candidate: NDArray[np.float64], *, seed: int
) -> tuple[float, tuple[float, float]]:
    """Return median(baseline) / median(candidate) and its 95 % bootstrap interval; above 1, the candidate is faster.

    Args:
        baseline: times (rounds, block).
        candidate: times (rounds, block) of the same rounds; a round is resampled for both together.
        seed: of the resampling.
    """
    ratio = float(np.median(baseline) / np.median(candidate))
    generator = np.random.default_rng(seed)
    parts = []
    for _ in range(_RESAMPLES // _BLOCK_OF_RESAMPLES):  # in blocks: all at once would hold gigabytes for long runs
        rounds = generator.integers(0, len(baseline), size=(_BLOCK_OF_RESAMPLES, len(baseline)))
        flat = (_BLOCK_OF_RESAMPLES, -1)
        parts.append(
            np.median(baseline[rounds].reshape(flat), axis=1) / np.median(candidate[rounds].reshape(flat), axis=1)
        )
    return ratio, _middle_95(np.concatenate(parts))


def median_interval(samples: NDArray[np.float64], *, seed: int) -> tuple[float, float]:
    """Return the 95 % bootstrap interval of the median of times (rounds, block), resampled by round."""
    generator = np.random.default_rng(seed)
    medians = []
    for _ in range(_RESAMPLES // _BLOCK_OF_RESAMPLES):
        rounds = generator.integers(0, len(samples), size=(_BLOCK_OF_RESAMPLES, len(samples)))
        medians.append(np.median(samples[rounds].reshape(_BLOCK_OF_RESAMPLES, -1), axis=1))
    return _middle_95(np.concatenate(medians))


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
    return _middle_95(np.asarray(areas))


def _middle_95(values: NDArray[Any]) -> tuple[float, float]:
    """Return the percentiles 2.5 and 97.5."""
    low, high = np.percentile(values, [2.5, 97.5])
    return float(low), float(high)
