"""Thresholds of all exits together, chosen on examples whose answers are known: validation data, never test data.

For thresholds t an example e leaves at exit i(e), the first where its confidence reaches t_i, and

    accuracy(t) = mean over e of correct[i(e), e]        cost(t) = mean over e of costs[i(e)]

Found is the least cost with a given accuracy, or the best accuracy within a given cost. Who reaches an exit depends on
the thresholds before it, so exits are not chosen one by one: the thresholds of all exits but the last are enumerated on
a grid, for each combination all thresholds of the last are tried at once (examples sorted by confidence, running sums),
and from the best found each threshold in turn is tried over all its values until nothing improves. Where the grid has
places for all values, which it has for two exits and 4,096 examples, that is every combination.

The best of so many combinations looks better on the examples that it was found on than on others. By how much is told
by the bootstrap (Efron and Tibshirani 1993, section 17.6): thresholds are found on resamples of the examples, and lose
more on the examples themselves than on their resample.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Final, Literal, final

import numpy as np
from numpy.typing import NDArray

from tinyml.numerics.exit_rules import ExitRule, exits_taken, never

Sums = NDArray[np.float64]

ENUMERATED: Final = 4096
"""Combinations on the grid at most."""

RESAMPLES: Final = 50
"""Of the bootstrap."""

DECIMALS: Final = 4
"""Of a threshold between 0 and 1; the highest is 0.9999, so that rounding in float32 does not decide who leaves."""


GoalName = Literal["max_drop_points", "keep_macs", "keep_latency"]


@dataclass(frozen=True, kw_only=True)
class ExitGoal:
    """What thresholds are to achieve on validation data.

    Attributes:
        rule: by which an example leaves.
        goal: what is kept: the accuracy of the network's own answer, or a share of the uncompressed network's MACs or
            of its latency.
        budget: points (0-100) that may be lost, or the share (0-1) that stays at most.
        temperature_scaling: whether each exit has a temperature of its own.
    """

    rule: ExitRule
    goal: GoalName
    budget: float
    temperature_scaling: bool


@dataclass(frozen=True, kw_only=True)
class OperatingPoint:
    """What thresholds come to on a set of examples.

    Attributes:
        thresholds: one for each exit.
        accuracy: share (0-1) of right answers.
        cost: mean of what examples cost: the sum of shares x costs.
        shares: of the examples (0-1), by the exit where they leave; the last is the network's end.
    """

    thresholds: tuple[float, ...]
    accuracy: float
    cost: float
    shares: tuple[float, ...]


@final
@dataclass(frozen=True, kw_only=True, eq=False)
class ExitTable:
    """What every exit says of every example.

    Attributes:
        rule: that gave the confidences.
        confidences: (exits, N), of every exit but the network's end.
        correct: bool (exits + 1, N).
        costs: (exits + 1,) of leaving there, what came before it included: MACs, or milliseconds. They rise.
    """

    rule: ExitRule
    confidences: NDArray[np.float32]
    correct: NDArray[np.bool_]
    costs: Sums

    @property
    def nobody(self) -> list[float]:
        """The thresholds at which nobody leaves early."""
        return [never(self.rule, exits=len(self.confidences))] * len(self.confidences)

    def of(self, examples: NDArray[np.integer[Any]]) -> "ExitTable":
        """Return the table of some of the examples, each as often as it is named."""
        return ExitTable(
            rule=self.rule,
            confidences=self.confidences[:, examples],
            correct=self.correct[:, examples],
            costs=self.costs,
        )

    def lost(self, thresholds: Sequence[float]) -> float:
        """Return the accuracy (0-1) that these thresholds lose to the network's own answer."""
        return float(self.correct[-1].mean()) - self.point(thresholds).accuracy

    def point(self, thresholds: Sequence[float]) -> OperatingPoint:
        """Return what these thresholds come to."""
        taken = exits_taken(self.confidences, thresholds)
        counts = np.bincount(taken, minlength=len(self.costs))
        right = int(np.count_nonzero(self.correct[taken, np.arange(len(taken))]))
        return OperatingPoint(
            thresholds=tuple(float(each) for each in thresholds),
            accuracy=right / len(taken),
            cost=float(counts @ self.costs) / len(taken),
            shares=tuple(float(each) / len(taken) for each in counts),
        )

    @cached_property
    def candidates(self) -> tuple[Sums, ...]:
        """The thresholds worth trying at each exit, falling: never, then those where one more example leaves."""
        found = []
        for at_exit, none in zip(self.confidences.astype(np.float64), self.nobody, strict=True):
            if self.rule != "patience":
                scale = 10.0**DECIMALS
                at_exit = np.append((np.floor(at_exit * scale) / scale).clip(0.0, 1.0 - 1 / scale), 0.0)
            found.append(np.unique(np.append(at_exit, none))[::-1])
        return tuple(found)

    @cached_property
    def orders(self) -> tuple[NDArray[np.intp], ...]:
        """The examples by rising confidence at each exit."""
        return tuple(at_exit.argsort(kind="stable") for at_exit in self.confidences)

    @cached_property
    def stays(self) -> tuple[NDArray[np.intp], ...]:
        """How many examples are below each candidate."""
        return tuple(
            np.searchsorted(at_exit[order], values.astype(np.float32))
            for at_exit, order, values in zip(self.confidences, self.orders, self.candidates, strict=True)
        )


def fewest_cost(table: ExitTable, *, most_lost: float, enumerated: int = ENUMERATED) -> OperatingPoint:
    """Return the cheapest point that loses at most this accuracy (0-1); where none does, that of nobody leaving.

    Args:
        table: what every exit says of every example.
        most_lost: of the accuracy of the network's own answer; below 0 where leaving early is to gain.
        enumerated: combinations on the grid at most.
    """
    least = table.correct[-1].sum() - most_lost * table.confidences.shape[1] - 1e-6
    found = _best(table, _Goal(kind="accuracy", bound=float(least)), enumerated)
    return table.point(found or table.nobody)


def optimism(table: ExitTable, *, most_lost: float, seed: int) -> float:
    """Return how much more accuracy (0-1) thresholds are expected to lose on other examples than on these; 0 or more.

    Args:
        table: what every exit says of the examples that `fewest_cost` chooses on.
        most_lost: what it may lose there.
        seed: of the resamples.
    """
    generator, examples = np.random.default_rng(seed), table.confidences.shape[1]
    gaps = []
    for _ in range(RESAMPLES):
        drawn = table.of(generator.integers(0, examples, size=(examples,)))
        thresholds = fewest_cost(drawn, most_lost=most_lost, enumerated=ENUMERATED // 16).thresholds
        gaps.append(table.lost(thresholds) - drawn.lost(thresholds))
    return max(0.0, float(np.mean(gaps)))


def best_accuracy(table: ExitTable, *, most_cost: float, enumerated: int = ENUMERATED) -> OperatingPoint:
    """Return the most accurate point of at most this cost; where none is as cheap, the cheapest there is.

    Args:
        table: what every exit says of every example.
        most_cost: mean over the examples, in the unit of the table's costs.
        enumerated: combinations on the grid at most.
    """
    bound = most_cost * table.confidences.shape[1] * (1 + 1e-12)
    found = _best(table, _Goal(kind="cost", bound=bound), enumerated)
    return table.point(found or [float(values[-1]) for values in table.candidates])


def trade_off(table: ExitTable, *, points: int) -> tuple[OperatingPoint, ...]:
    """Return the best points at up to `points` costs, spread evenly from the cheapest to nobody leaving."""
    cheapest = table.point([float(values[-1]) for values in table.candidates]).cost
    budgets = np.linspace(cheapest, float(table.costs[-1]), points)
    found = (best_accuracy(table, most_cost=float(budget), enumerated=ENUMERATED // 16) for budget in budgets)
    return tuple({point.thresholds: point for point in found}.values())


@dataclass(frozen=True, kw_only=True)
class _Goal:
    """At least `bound` right answers at the least cost, or at most `bound` total cost with the most right answers."""

    kind: Literal["accuracy", "cost"]
    bound: float

    def first(self, right: Sums, cost: Sums) -> tuple[tuple[float, float], int]:
        """Return (what to minimise, what then) of the best entry, and its index; of equals the first."""
        main, then = (cost, -right) if self.kind == "accuracy" else (-right, cost)
        allowed = right >= self.bound if self.kind == "accuracy" else cost <= self.bound
        main = np.where(allowed, main, np.inf)
        equal = np.flatnonzero(main == main.min())
        index = int(equal[then[equal].argmin()])
        return (float(main[index]), float(then[index])), index


@dataclass(frozen=True, kw_only=True, eq=False)
class _Reached:
    """Who reaches an exit under the thresholds before it, and the sums over all others."""

    who: NDArray[np.bool_]
    right: float
    cost: float

    def behind(self, table: ExitTable, index: int, threshold: float) -> "_Reached":
        """Return who reaches the exit behind `index`."""
        leaves = self.who & (table.confidences[index] >= np.float32(threshold))
        right = self.right + np.count_nonzero(table.correct[index] & leaves)
        cost = self.cost + table.costs[index] * np.count_nonzero(leaves)
        return _Reached(who=self.who & ~leaves, right=float(right), cost=float(cost))


def _best(table: ExitTable, goal: _Goal, enumerated: int) -> list[float]:
    """Return the best thresholds found, none where none meets the goal."""
    last, everyone = len(table.confidences) - 1, np.ones(table.confidences.shape[1], dtype=bool)
    places = max(2, int(enumerated ** (1 / last) + 1e-9)) if last else 0
    later = (table.correct[-1].astype(np.float64), np.full(len(everyone), table.costs[-1]))
    best, found = (np.inf, np.inf), list[float]()
    for earlier, reached in _grid(table, last, places, _Reached(who=everyone, right=0.0, cost=0.0)):
        key, index = goal.first(*_scan(table, last, reached, later))
        if key < best and np.isfinite(key[0]):
            best, found = key, [*earlier, float(table.candidates[last][index])]
    return _polished(table, goal, found, best) if found else found


def _grid(table: ExitTable, stop: int, places: int, start: _Reached) -> Iterator[tuple[list[float], _Reached]]:
    """Yield every combination on the grid of the thresholds before exit `stop`, with who reaches that exit."""

    def extend(index: int, earlier: list[float], reached: _Reached) -> Iterator[tuple[list[float], _Reached]]:
        if index == stop:
            yield earlier, reached
            return
        values = table.candidates[index]
        for place in np.unique(np.linspace(0, len(values) - 1, min(places, len(values))).round().astype(np.intp)):
            threshold = float(values[place])
            yield from extend(index + 1, [*earlier, threshold], reached.behind(table, index, threshold))

    yield from extend(0, [], start)


def _scan(table: ExitTable, index: int, reached: _Reached, later: tuple[Sums, Sums]) -> tuple[Sums, Sums]:
    """Return the sums of right answers and of costs for every candidate at exit `index`.

    Args:
        table: as it is.
        index: of the exit.
        reached: who comes there.
        later: right answers and costs (N,) of those who stay.
    """
    order, stays = table.orders[index], table.stays[index]
    who = reached.who[order]
    sums = []
    leaving = (table.correct[index][order].astype(np.float64), np.full(len(order), table.costs[index]))
    for so_far, left, stayed in zip((reached.right, reached.cost), leaving, later, strict=True):
        gains = np.concatenate([[0.0], np.cumsum(np.where(who, stayed[order] - left, 0.0))])
        sums.append(so_far + left[who].sum() + gains[stays])
    return sums[0], sums[1]


def _polished(table: ExitTable, goal: _Goal, thresholds: list[float], best: tuple[float, float]) -> list[float]:
    """Return the thresholds after each in turn was tried over all its candidates, until none improves."""
    rows = np.arange(table.confidences.shape[1])
    improved = True
    while improved:
        improved = False
        for index in range(len(thresholds)):
            reached = _Reached(who=np.ones(len(rows), dtype=bool), right=0.0, cost=0.0)
            for earlier in range(index):
                reached = reached.behind(table, earlier, thresholds[earlier])
            taken = index + 1 + exits_taken(table.confidences[index + 1 :], thresholds[index + 1 :])
            later = (table.correct[taken, rows].astype(np.float64), table.costs[taken])
            key, place = goal.first(*_scan(table, index, reached, later))
            if key < best:
                best, thresholds[index], improved = key, float(table.candidates[index][place]), True
    return thresholds
