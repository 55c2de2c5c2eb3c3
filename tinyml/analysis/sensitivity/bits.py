"""Bits of all layers for a budget of bytes or of points: the least divergence within it, or the fewest bytes.

    divergence = sum over layers of the layer's own divergence at its bits          (chosen by numerics/allocation.py)
    drop       = rising line through all (divergence, points lost) that the scan measured, from (0, 0) on

Points lost by single layers are mostly noise: an image more or less. Divergences are not, so that levels are chosen by
them, and all layers together tell how many points a divergence costs. That divergences add up is an assumption, and
activations are in float here: the chosen network is to be measured.

Bytes are counted without making a file; one that is made has some more or fewer. Names grow with the number of decoders
before them, and zero points of activations that happen to be equal are stored once, which only calibration tells.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Final, final

import numpy as np
from numpy.typing import NDArray

from tinyml.analysis.sensitivity.curves import FileBytes, Sensitivity, size_of
from tinyml.errors import GateMissed
from tinyml.numerics.allocation import Allocations
from tinyml.numerics.isotonic import rising

ROUNDING: Final = 1e-9
"""Of differences of scores."""

FEWEST_BITS: Final = {"linear_quantization": 2, "kmeans_quantization": 1}
"""That a pass gives a weight."""

MOST_BITS: Final = 8


@final
@dataclass(frozen=True, kw_only=True)
class ByteBudget:
    """The exported file has at most so many bytes."""

    most_bytes: int


@final
@dataclass(frozen=True, kw_only=True)
class DropBudget:
    """The predicted drop is at most so much of the score (0-1)."""

    most_drop: float


Budget = ByteBudget | DropBudget


@final
@dataclass(frozen=True, kw_only=True)
class Prediction:
    """What the scan promises of some bits; no measurement.

    Attributes:
        size_bytes: of the exported file; of a choice whose file was made, those of that file.
        divergence: of the layers, added up.
        drop: of the score (0-1).
        beyond: whether no layer alone diverges so much: then the drop is at least that, and may be far more.
    """

    size_bytes: int
    divergence: float
    drop: float
    beyond: bool


@final
@dataclass(frozen=True, kw_only=True)
class BitChoice:
    """Bits for every layer.

    Attributes:
        budget: what was asked for.
        levels: by the name of the layer.
        predicted: of these bits.
        uniform: of the same bits for all layers, by bits.
    """

    budget: Budget
    levels: dict[str, float]
    predicted: Prediction
    uniform: dict[int, Prediction]

    @property
    def beside(self) -> int:
        """The bits for all layers whose file comes nearest in size."""
        return min(self.uniform, key=lambda bits: abs(self.uniform[bits].size_bytes - self.predicted.size_bytes))


MeasureBytes = Callable[[BitChoice], int]
"""Makes the file of a choice; returns its bytes."""


def choose_bits(sensitivity: Sensitivity, budget: Budget, measure: MeasureBytes | None = None) -> BitChoice:
    """Return the bits of all layers.

    Args:
        sensitivity: of bits, with the bytes of its layers.
        budget: that they are to meet.
        measure: what says how many bytes the file really has, which are then held to the budget and told; None: they
            are those that the scan counts.

    Raises:
        GateMissed: no bits meet it; told is what comes nearest.
    """
    table = _Table(sensitivity)
    if isinstance(budget, ByteBudget):
        return _within_bytes(table, budget, measure)
    found = table.within_drop(budget.most_drop)
    if found is None:
        raise GateMissed(_too_few_points(table, budget))
    return _measured(table.choice(found, budget), measure)


def _within_bytes(table: "_Table", budget: ByteBudget, measure: MeasureBytes | None) -> BitChoice:
    """Return the choice of the least divergence whose file has no more bytes.

    A file that came out too large lowers what the next may have by what it is over, then by twice, by four times that.
    """
    allowed, farther = budget.most_bytes, 1
    while True:
        within = table.within_bytes(allowed)
        found = table.smallest if within is None else within
        choice = _measured(table.choice(found, budget), measure)
        over = choice.predicted.size_bytes - budget.most_bytes
        if over <= 0:
            return choice
        if found == table.smallest:
            raise GateMissed(_too_few_bytes(table, budget, choice.predicted))
        allowed = table.predicted(found).size_bytes - farther * over
        farther *= 2


def _measured(choice: BitChoice, measure: MeasureBytes | None) -> BitChoice:
    """Return the choice with the bytes of its file, made; the same bits for all layers have them, too."""
    if measure is None:
        return choice
    predicted = replace(choice.predicted, size_bytes=measure(choice))
    alike = {int(level) for level in choice.levels.values()}
    uniform = {bits: predicted if alike == {bits} else each for bits, each in choice.uniform.items()}
    return replace(choice, predicted=predicted, uniform=uniform)


@final
class _Table:
    """Bytes and divergences of all layers at all levels; a choice is the index of each layer's level."""

    def __init__(self, sensitivity: Sensitivity) -> None:
        assert sensitivity.file is not None  # whoever asks for a budget has measured them
        self.pass_name = sensitivity.pass_name
        self.levels = sensitivity.curves[0].levels
        self._file: FileBytes = sensitivity.file
        self._curves = sensitivity.curves
        self._divergences = [curve.divergences for curve in self._curves]
        self._best = Allocations([curve.stored_bytes for curve in self._curves], self._divergences)
        self._x, self._drops = _drops(sensitivity)

    def choice(self, found: tuple[int, ...], budget: Budget) -> BitChoice:
        """Return the choice with what it promises."""
        every = enumerate(self.levels)
        return BitChoice(
            budget=budget,
            levels={curve.name: self.levels[index] for curve, index in zip(self._curves, found, strict=True)},
            predicted=self.predicted(found),
            uniform={int(level): self.predicted((index,) * len(found)) for index, level in every},
        )

    def predicted(self, choice: tuple[int, ...]) -> Prediction:
        """Return what the choice promises."""
        divergence = 0.0
        for layer, level in zip(self._divergences, choice, strict=True):
            divergence += layer[level]
        return Prediction(
            size_bytes=size_of(self._curves, self._file, choice),
            divergence=divergence,
            drop=float(np.interp(divergence, self._x, self._drops)),
            beyond=divergence > float(self._x[-1]),
        )

    @property
    def smallest(self) -> tuple[int, ...]:
        """The choice of the fewest bytes in every layer."""
        return tuple(curve.stored_bytes.index(min(curve.stored_bytes)) for curve in self._curves)

    @property
    def nearest(self) -> tuple[int, ...]:
        """The choice of the least divergence."""
        found = self._best.within_loss(self._best.least_loss)
        assert found is not None
        return found

    def within_bytes(self, most: int) -> tuple[int, ...] | None:
        """Return the choice of the least divergence; the constants that its levels share count, too."""
        allowed = most - self._file.rest
        while (found := self._best.within_size(allowed)) is not None:
            over = self.predicted(found).size_bytes - most
            if over <= 0:
                return found
            allowed -= over
        return self.smallest if self.predicted(self.smallest).size_bytes <= most else None

    def within_drop(self, most: float) -> tuple[int, ...] | None:
        """Return the choice of the fewest bytes, which diverges no farther than the scan has seen."""
        most += ROUNDING
        if self._drops[-1] <= most:
            return self._best.within_loss(float(self._x[-1]))
        above = int(np.argmax(self._drops > most))  # never the first, which is 0
        low, high = self._drops[above - 1 : above + 1]
        share = (most - low) / (high - low)
        return self._best.within_loss(float(self._x[above - 1] + share * (self._x[above] - self._x[above - 1])))


def _drops(sensitivity: Sensitivity) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return divergences in rising order from 0 on, and what the score loses at each: it never falls, and is 0 at 0."""
    pairs = sorted(
        (divergence, sensitivity.unchanged - score)
        for curve in sensitivity.curves
        for divergence, score in zip(curve.divergences, curve.scores, strict=True)
    )
    x, lost = np.array([(0.0, 0.0), *pairs]).T
    return x, np.concatenate([np.zeros(1), rising(lost[1:]).clip(min=0)])


def _too_few_bytes(table: _Table, budget: ByteBudget, smallest: Prediction) -> str:
    """Return that no bits have so few bytes, what comes nearest, and what can be done."""
    fewer = ["scan fewer bits (--levels)"] if min(table.levels) > FEWEST_BITS[table.pass_name] else []
    return (
        f"--budget-bytes {budget.most_bytes:,} cannot be met: with the fewest bits for every layer the file has "
        f"{smallest.size_bytes:,} bytes and loses {_points(smallest)} by prediction; "
        f"{_either('allow more', *fewer, 'prune first')}"
    )


def _too_few_points(table: _Table, budget: DropBudget) -> str:
    """Return that no bits lose so little, what comes nearest, and what can be done."""
    nearest = table.predicted(table.nearest)
    more = ["scan more bits (--levels)"] if max(table.levels) < MOST_BITS else []
    return (
        f"--budget-drop-points {100 * budget.most_drop:g} cannot be met: with the best bits for every layer "
        f"{_points(nearest)} are lost by prediction and the file has about {nearest.size_bytes:,} bytes; "
        f"{_either('allow more', *more)}"
    )


def _points(prediction: Prediction) -> str:
    return f"{'at least ' if prediction.beyond else ''}{100 * prediction.drop:.2f} points"


def _either(*ways: str) -> str:
    """Return "a", "a or b", "a, b, or c"."""
    *first, last = ways
    return f"{', '.join(first)}{',' if len(first) > 1 else ''} or {last}" if first else last
