"""Which range [low, high] of a tensor an integer grid should cover: four methods over exact extremes and a sample.

    minmax      the extremes
    percentile  the share (1 - p) / 2 of the sample is cut from each end
    mse         the range whose expected squared error is least: clipping error of the sample + (values inside) *
                scale^2 / 12 (rounding noise of a uniform quantizer: Bennett 1948, "Spectra of quantized signals");
                exact zeros have none
    entropy     the range whose clipped histogram, quantized to the grid, has the least Kullback-Leibler divergence
                from the original (Migacz 2017, "8-bit inference with TensorRT"), one-sided and two-sided alike;
                the extremes on a grid of 16 bits

Every function takes a one-dimensional sample of values and returns Python floats.
"""

from collections.abc import Callable
from typing import Literal

import numpy as np
import torch
from torch import Tensor

from tinyml.numerics.affine import Grid

Method = Literal["minmax", "percentile", "mse", "entropy"]

PERCENTILE = 99.99
MSE_CANDIDATES = 64
HISTOGRAM_BINS = 2048


def minmax_range(sample: Tensor, low: float, high: float, grid: Grid) -> tuple[float, float]:
    """Return the extremes."""
    return low, high


def percentile_range(sample: Tensor, low: float, high: float, grid: Grid) -> tuple[float, float]:
    """Return the range that holds 99.99 % of the sample, an equal share being cut from both ends that hold values."""
    tail = (1.0 - PERCENTILE / 100.0) / (2.0 if low < 0.0 < high else 1.0)
    ordered = sample.sort().values
    last = ordered.numel() - 1
    lower = float(ordered[round(tail * last)]) if low < 0.0 else low
    upper = float(ordered[round((1.0 - tail) * last)]) if high > 0.0 else high
    return min(lower, 0.0), max(upper, 0.0)


def mse_range(sample: Tensor, low: float, high: float, grid: Grid) -> tuple[float, float]:
    """Return the range of least expected squared error, searched over both ends together."""
    ordered = torch.from_numpy(np.sort(sample.numpy())).double()  # numpy's vectorised sort is several times torch's
    shares = torch.linspace(1.0, 1.0 / MSE_CANDIDATES, MSE_CANDIDATES, dtype=torch.float64)
    lows = shares * min(low, 0.0) if low < 0.0 else torch.zeros(1, dtype=torch.float64)
    highs = shares * max(high, 0.0) if high > 0.0 else torch.zeros(1, dtype=torch.float64)
    first, second = (torch.nn.functional.pad(ordered.pow(power).cumsum(0), (1, 0)) for power in (1, 2))
    below = torch.searchsorted(ordered, lows)
    above = torch.searchsorted(ordered, highs, right=True)
    count = ordered.numel()
    clipped_low = second[below] - 2.0 * lows * first[below] + lows.square() * below
    clipped_high = (
        (second[-1] - second[above]) - 2.0 * highs * (first[-1] - first[above]) + highs.square() * (count - above)
    )
    zeros = int((ordered == 0.0).sum())
    inside = (above[None, :] - below[:, None] - zeros).clamp(min=0)
    steps = (highs[None, :] - lows[:, None]) / grid.steps
    error = clipped_low[:, None] + clipped_high[None, :] + inside * steps.square() / 12.0
    row, column = divmod(int(error.argmin()), highs.numel())
    return float(lows[row]), float(highs[column])


def entropy_range(sample: Tensor, low: float, high: float, grid: Grid) -> tuple[float, float]:
    """Return the range of least divergence; both ends are scaled by one common share."""
    extreme, levels = max(-low, high), grid.steps + 1
    if extreme <= 0.0 or levels >= HISTOGRAM_BINS:  # the histogram tells no two codes of a finer grid apart
        return low, high
    one_sided = low >= 0.0 or high <= 0.0
    magnitudes = sample.double().abs() if one_sided else sample.double()
    floor = 0.0 if one_sided else -extreme
    counts = torch.histc(magnitudes, bins=HISTOGRAM_BINS, min=floor, max=extreme)
    if one_sided:
        counts[0] -= (magnitudes == 0.0).sum()  # exact zeros cost nothing on any grid that holds zero
    kept = range(HISTOGRAM_BINS, levels // 2, -max(HISTOGRAM_BINS // 128, 1))
    best = min(kept, key=lambda bins: _divergence(counts, bins, levels, one_sided=one_sided))
    share = best / HISTOGRAM_BINS
    return max(low, -extreme * share), min(high, extreme * share)


def _divergence(counts: Tensor, bins: int, levels: int, *, one_sided: bool) -> float:
    """Return KL(P || Q) when `bins` bins are kept, the tails added to the outermost, and merged to `levels`."""
    start = 0 if one_sided else (HISTOGRAM_BINS - bins) // 2
    kept = counts[start : start + bins]
    reference = kept.clone()
    reference[0] += counts[:start].sum()
    reference[-1] += counts[start + bins :].sum()
    groups = torch.arange(bins) * levels // bins
    filled = (kept > 0).double()
    totals = torch.zeros(levels, dtype=torch.float64).index_add_(0, groups, kept)
    members = torch.zeros(levels, dtype=torch.float64).index_add_(0, groups, filled).clamp(min=1.0)
    candidate = (totals / members)[groups] * filled
    return _kullback_leibler(reference, candidate)


def _kullback_leibler(reference: Tensor, candidate: Tensor) -> float:
    """Return KL of two unnormalised histograms; a bin that only the reference fills counts with a floor of 1e-12."""
    p, q = reference / reference.sum(), candidate / candidate.sum().clamp(min=1e-30)
    held = p > 0
    return float((p[held] * (p[held] / q[held].clamp(min=1e-12)).log()).sum())


RANGES: dict[str, Callable[[Tensor, float, float, Grid], tuple[float, float]]] = {
    "minmax": minmax_range,
    "percentile": percentile_range,
    "mse": mse_range,
    "entropy": entropy_range,
}
