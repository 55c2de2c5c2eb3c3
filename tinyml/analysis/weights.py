"""Histograms of a network's weights before and after, on one scale, layer by layer.

The two sides of a pair share their bin edges; values that are not finite are in no bin.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, final

import numpy as np

from tinyml.analysis.onnx_weights import LayerWeights

_FEWEST_BINS: Final = 8


@final
@dataclass(frozen=True, kw_only=True)
class WeightHistogram:
    """How the weights of one layer are spread.

    Attributes:
        counts: weights per bin; empty where the file has no such layer.
        weights: number of weights in the layer.
        zeros: share of them that is exactly zero, 0-1.
        distinct: number of different values, before the scales of a quantized layer: with int8 at most 256.
        stored: their form in the file, such as "float32" or "4-bit codebook"; "" where the file has no such layer.
    """

    counts: tuple[int, ...] = ()
    weights: int = 0
    zeros: float = 0.0
    distinct: int = 0
    stored: str = ""


@final
@dataclass(frozen=True, kw_only=True)
class HistogramPair:
    """One layer's weights before and after, over the same bins.

    Attributes:
        name: the layer's.
        edges: bin edges, one more than there are bins.
        before: the layer in the baseline.
        after: the layer in the file that ships.
    """

    name: str
    edges: tuple[float, ...]
    before: WeightHistogram
    after: WeightHistogram


def histogram_pairs(
    before: Mapping[str, LayerWeights], after: Mapping[str, LayerWeights], *, max_bins: int = 64
) -> tuple[HistogramPair, ...]:
    """Return a pair per layer, in the order of `before`, then the layers that only `after` has.

    Args:
        before: the baseline's weights by layer name.
        after: the shipped file's weights by layer name, as the runtime will see them (dequantized).
        max_bins: most bins a layer gets; small layers get about the square root of their number of weights.
    """
    names = list(before) + [name for name in after if name not in before]
    return tuple(_pair(name, before.get(name), after.get(name), max_bins) for name in names)


def _pair(name: str, before: LayerWeights | None, after: LayerWeights | None, max_bins: int) -> HistogramPair:
    """Return one layer's pair; a side that is None is a layer which that file does not have."""
    sides = [side.values for side in (before, after) if side is not None]
    edges = _shared_edges(sides, max_bins)
    return HistogramPair(
        name=name,
        edges=tuple(edges.tolist()),
        before=_histogram(before, edges) if before else WeightHistogram(),
        after=_histogram(after, edges) if after else WeightHistogram(),
    )


def _shared_edges(sides: list[np.ndarray], max_bins: int) -> np.ndarray:
    """Return edges (bins + 1,) float64 that cover every finite value of all sides."""
    finite = [side[np.isfinite(side)] for side in sides]
    extremes = [value for side in finite if side.size for value in (side.min(), side.max())]
    low, high = (float(min(extremes)), float(max(extremes))) if extremes else (0.0, 0.0)
    bins = int(np.clip(round(max(side.size for side in sides) ** 0.5), _FEWEST_BINS, max_bins))
    if low == high:  # a constant layer needs room on both sides
        half = abs(low) / 2 or 0.5
        low, high = low - half, high + half
    return np.linspace(low, high, bins + 1)


def _histogram(layer: LayerWeights, edges: np.ndarray) -> WeightHistogram:
    """Return the facts of one side."""
    values = layer.values.ravel()
    counts, _ = np.histogram(values[np.isfinite(values)], bins=edges)
    return WeightHistogram(
        counts=tuple(counts.tolist()),
        weights=values.size,
        zeros=float(np.mean(values == 0)) if values.size else 0.0,
        distinct=min(int(np.unique(side).size) for side in (layer.stored, values)),
        stored=layer.form,
    )
