"""Levels of all layers for a budget, chosen from their curves so that the score falls least.

The points lost at a level are max(0, unchanged - score), and never fewer than at a milder level: what lies below is
noise. Each layer's points over what it saves are replaced by their lower convex hull; the pieces of all hulls are taken
in the order of points lost per weight saved, until the budget is met, and the last one as far as needed. For drops that
add up over layers this is the optimum over the hulls: it is where a Lagrangian (Everett 1963, Shoham and Gersho 1988)
ends for the multiplier that meets the budget. That drops add up is an assumption; the chosen network is to be measured.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Final, final

from tinyml.analysis.sensitivity.curves import LayerCurve, Sensitivity

STEP: Final = 1e-4
"""Sparsities are rounded up to a multiple of this."""


@final
@dataclass(frozen=True, kw_only=True)
class Choice:
    """A level for every layer.

    Attributes:
        sparsity: what was asked for: share (0-1) of all weights, or channels, of the scanned layers.
        levels: by the name of the layer.
        predicted_drop: the points (0-1) that the curves lose at these levels, added up: no measurement.
    """

    sparsity: float
    levels: dict[str, float]
    predicted_drop: float


@dataclass(frozen=True, kw_only=True)
class _Point:
    """A level with what it saves (weights or channels) and loses (0-1)."""

    level: float
    saved: float
    lost: float


@dataclass(frozen=True, kw_only=True)
class _Segment:
    """The way from one corner of a layer's hull to the next."""

    name: str
    start: _Point
    stop: _Point

    @property
    def slope(self) -> float:
        return (self.stop.lost - self.start.lost) / self.saved

    @property
    def saved(self) -> float:
        return self.stop.saved - self.start.saved


def choose_sparsities(sensitivity: Sensitivity, sparsity: float) -> Choice:
    """Return sparsities of all layers that together remove the share `sparsity`, above 0, of what was scanned."""
    goal = sum((sparsity - curve.start) * curve.size for curve in sensitivity.curves)
    segments = [piece for curve in sensitivity.curves for piece in _segments(curve, sensitivity.unchanged)]
    levels = {curve.name: curve.start for curve in sensitivity.curves}
    lost = 0.0
    for piece in sorted(segments, key=lambda piece: (piece.slope, -piece.saved)):
        if goal <= 0:
            break
        share = min(1.0, goal / piece.saved)
        level = piece.start.level + share * (piece.stop.level - piece.start.level)
        levels[piece.name] = level if share == 1 else _rounded_up(level)
        lost += share * (piece.stop.lost - piece.start.lost)
        goal -= piece.saved
    return Choice(sparsity=sparsity, levels=levels, predicted_drop=lost)


def _rounded_up(level: float) -> float:
    return round(math.ceil(level / STEP - 1e-6) * STEP, 10)


def _segments(curve: LayerCurve, unchanged: float) -> list[_Segment]:
    corners = _hull(_points(curve, unchanged))
    return [_Segment(name=curve.name, start=start, stop=stop) for start, stop in pairwise(corners)]


def _points(curve: LayerCurve, unchanged: float) -> list[_Point]:
    """Return the points of a curve of sparsities in rising order, from the layer as it is: nothing is lost there."""
    points = [_Point(level=curve.start, saved=curve.start * curve.size, lost=0.0)]
    stronger = [(level, score) for level, score in zip(curve.levels, curve.scores, strict=True) if level > curve.start]
    for level, score in sorted(stronger):
        lost = max(points[-1].lost, unchanged - score)
        points.append(_Point(level=level, saved=level * curve.size, lost=lost))
    return points


def _hull(points: Sequence[_Point]) -> list[_Point]:
    """Return the corners of the lower convex hull of points in the order of what they save (Andrew 1979)."""
    corners: list[_Point] = []
    for point in points:
        while len(corners) > 1 and _bends_down(corners[-2], corners[-1], point):
            corners.pop()
        corners.append(point)
    return corners


def _bends_down(first: _Point, middle: _Point, last: _Point) -> bool:
    """Return whether the middle point lies on or above the line between the others."""
    before = (middle.lost - first.lost) * (last.saved - first.saved)
    return before >= (last.lost - first.lost) * (middle.saved - first.saved)
