"""What difficulty.json says: depth by depth, layer by layer, and what follows from it."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import final

import numpy as np
from numpy.typing import NDArray
from pydantic import JsonValue, TypeAdapter

from tinyml.analysis.difficulty.examples import Examples
from tinyml.analysis.difficulty.exits import ExitPlace
from tinyml.analysis.difficulty.places import Place
from tinyml.graph.capture import LeftAlone
from tinyml.numerics.nearest_neighbours import Metric
from tinyml.numerics.rank_correlation import rank_correlation


@final
@dataclass(frozen=True, kw_only=True)
class Margins:
    """Quartiles of the margins of some examples: the largest logit minus the second largest."""

    low: float
    median: float
    high: float


@final
@dataclass(frozen=True, kw_only=True)
class DepthRow:
    """The examples of one depth.

    Attributes:
        n: how many.
        right: of how many the network's answer is the label.
        margins: None where there is no example.
    """

    n: int
    right: int
    margins: Margins | None


@final
@dataclass(frozen=True, kw_only=True)
class SplitSummary:
    """One split.

    Attributes:
        source: where it comes from.
        n: examples.
        right: of how many the network's answer is the label.
        depths: one row a depth, from 0 to the number of probes.
        probes: share (0-1) of examples whose label a probe gives, from the input to the output.
    """

    source: str
    n: int
    right: int
    depths: tuple[DepthRow, ...]
    probes: tuple[float, ...]


@final
@dataclass(frozen=True, kw_only=True)
class CScoreSummary:
    """C-scores of the train split.

    Attributes:
        runs: trainings on random halves.
        epochs: of each.
        n: examples that at least one of them was trained without.
        rank_correlation: Spearman's, with prediction depth; None where either is the same for all.
        by_depth: mean C-score at each depth; None where there is no example.
    """

    runs: int
    epochs: int
    n: int
    rank_correlation: float | None
    by_depth: tuple[float | None, ...]


@final
@dataclass(frozen=True, kw_only=True)
class ProbedLayer:
    """One probe: the name of its place, and how many features an example has there."""

    name: str
    features: int


@final
@dataclass(frozen=True, kw_only=True)
class Summary:
    """All that a run found, but for the single examples.

    Attributes:
        model: zoo name or 'package.module:factory'.
        data: the name of the task.
        neighbours: k of the probes.
        metric: of the distance between features.
        side: features are the means of side x side regions of an image.
        layers: the probes, from the input to the output.
        splits: by name.
        exits: places for early exits, the best first.
        exits_from: the split whose depths they follow.
        c_score: where it was asked for.
        left_alone: layers that were not probed, and why.
        notes: what else a reader has to know.
    """

    model: str
    data: str
    neighbours: int
    metric: Metric
    side: int
    layers: tuple[ProbedLayer, ...]
    splits: Mapping[str, SplitSummary]
    exits: tuple[ExitPlace, ...] = ()
    exits_from: str = ""
    c_score: CScoreSummary | None = None
    left_alone: tuple[LeftAlone, ...] = ()
    notes: tuple[str, ...] = ()

    @property
    def shown(self) -> str:
        """The split that a reader looks at first: test, or the last there is."""
        return list(self.splits)[-1]

    def to_json(self) -> dict[str, JsonValue]:
        """Return the facts as they are written to difficulty.json."""
        facts: dict[str, JsonValue] = TypeAdapter(Summary).dump_python(self, mode="json")
        return facts

    @classmethod
    def from_json(cls, facts: Mapping[str, JsonValue]) -> "Summary":
        """Return what `to_json` wrote."""
        return TypeAdapter(Summary).validate_python(facts)


def split_summary(examples: Examples) -> SplitSummary:
    """Return the depths and probes of a split."""
    depths, right = examples.depths, examples.right
    rows = []
    for depth in range(len(examples.probes) + 1):
        here = depths == depth
        rows.append(DepthRow(n=int(here.sum()), right=int(right[here].sum()), margins=_margins(examples.margins[here])))
    accuracies = (examples.probes == examples.labels).mean(axis=1)
    return SplitSummary(
        source=examples.source,
        n=len(examples),
        right=int(right.sum()),
        depths=tuple(rows),
        probes=tuple(float(each) for each in accuracies),
    )


def c_score_summary(scores: NDArray[np.float64], train: Examples, *, runs: int, epochs: int) -> CScoreSummary:
    """Return how C-scores (N,), NaN where unknown, go with the prediction depths of the train split."""
    known = np.isfinite(scores)
    depths = train.depths
    rho = rank_correlation(scores[known], depths[known])
    by_depth = [scores[known & (depths == depth)] for depth in range(len(train.probes) + 1)]
    return CScoreSummary(
        runs=runs,
        epochs=epochs,
        n=int(known.sum()),
        rank_correlation=None if math.isnan(rho) else rho,
        by_depth=tuple(float(each.mean()) if len(each) else None for each in by_depth),
    )


def probed_layers(places: Sequence[Place]) -> tuple[ProbedLayer, ...]:
    """Return the probes of the places."""
    return tuple(ProbedLayer(name=place.name, features=place.features) for place in places)


def _margins(margins: NDArray[np.float32]) -> Margins | None:
    if not len(margins):
        return None
    low, median, high = (float(each) for each in np.percentile(margins, [25, 50, 75]))
    return Margins(low=low, median=median, high=high)
