"""Set a network's exits to their goal: temperatures and thresholds from what its file answers on validation data.

To be called last, with the logits of the exported stages: quantization shifts confidences. Labels are needed here and
never at run time; the test split is not for this.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from tinyml.numerics.exit_rules import confidences
from tinyml.numerics.exit_thresholds import (
    ExitGoal,
    ExitTable,
    OperatingPoint,
    best_accuracy,
    fewest_cost,
    optimism,
    trade_off,
)
from tinyml.numerics.temperature import fit_temperature
from tinyml.runtime.exit_policy import ExitPolicy

POINTS: Final = 20
"""Of the trade-off curve at most."""


@dataclass(frozen=True, kw_only=True)
class ExitChoice:
    """The policy that was chosen, and what it comes to on the examples that it was chosen on.

    Attributes:
        goal: what it was to achieve.
        policy: rule, thresholds and temperatures.
        examples: how many it was chosen on.
        point: its accuracy, mean cost and shares of the examples by exit.
        accuracies: of every exit if all left there, the last the network's own answer.
        costs: of leaving at each exit, the last of going all the way: MACs, or milliseconds.
        whole: the same of the uncompressed network.
        curve: the best accuracy at other costs, by rising cost.
        optimism_points: of a budget of accuracy, by how many points more is expected to be lost on other examples; so
            much was taken off the budget, down to losing nothing on these.
    """

    goal: ExitGoal
    policy: ExitPolicy
    examples: int
    point: OperatingPoint
    accuracies: tuple[float, ...]
    costs: tuple[float, ...]
    whole: float
    curve: tuple[OperatingPoint, ...]
    optimism_points: float = 0.0

    @property
    def kept(self) -> float:
        """The share of the uncompressed network's cost that stays, the mean over the examples; it may be above 1."""
        return self.point.cost / self.whole

    @property
    def drop_points(self) -> float:
        """Points of accuracy that leaving early loses to the network's own answer; below 0 where it gains."""
        return 100 * (self.accuracies[-1] - self.point.accuracy)

    @property
    def reached(self) -> bool:
        """Whether the goal was reached; an accuracy always can be: nobody has to leave."""
        return self.goal.goal == "max_drop_points" or self.kept <= self.goal.budget * (1 + 1e-9)

    @property
    def doubt(self) -> str:
        """Why the exits may not do what is hoped for; "" where nothing is known against them."""
        if self.point.shares[-1] == 1:
            return (
                f"nobody leaves early: on the {self.examples:,} validation examples every threshold loses more than "
                "is allowed; train the exits longer, allow more (max_drop_points), or bring more validation data"
            )
        if self.goal.goal == "max_drop_points" and self.optimism_points > self.goal.budget:
            return (
                f"{self.examples:,} validation examples are few: {self.optimism_points:.2f} points more are expected "
                f"to be lost elsewhere than on them, and max_drop_points is {self.goal.budget:g}; bring more"
            )
        return ""


def choose_exits(
    goal: ExitGoal,
    logits: NDArray[np.float32],
    labels: NDArray[np.integer[Any]],
    *,
    costs: Sequence[float],
    whole: float,
) -> ExitChoice:
    """Return the policy that reaches the goal: with the fewest mean costs, or the most right answers.

    Where leaving as early as can be still costs more than the goal allows, that is what is returned.

    Args:
        goal: of the network, see `tinyml.architecture.AttachExits`.
        logits: (exits + 1, N, classes) on validation data, the last the network's own, not divided by temperatures.
        labels: (N,).
        costs: (exits + 1,) of leaving at each exit, earlier heads included: MACs, or for keep_latency milliseconds.
        whole: the same of the uncompressed network, of which a share is to stay.
    """
    early = logits[:-1]
    scaled = goal.temperature_scaling and goal.rule != "patience"
    # float32 holds six digits: every form of the network has the same policy then
    temperatures = [float(f"{fit_temperature(each, labels):.6g}") if scaled else 1.0 for each in early]
    table = ExitTable(
        rule=goal.rule,
        confidences=confidences(goal.rule, logits, temperatures),
        correct=logits.argmax(axis=2) == labels,
        costs=np.asarray(costs, dtype=np.float64),
    )
    accuracies = tuple(float(each) for each in table.correct.mean(axis=1))
    too_good = 0.0
    if goal.goal == "max_drop_points":
        too_good = optimism(table, most_lost=goal.budget / 100, seed=0)
        point = fewest_cost(table, most_lost=max(0.0, goal.budget / 100 - too_good))
    else:
        point = best_accuracy(table, most_cost=goal.budget * whole)
    return ExitChoice(
        goal=goal,
        policy=ExitPolicy(rule=goal.rule, thresholds=point.thresholds, temperatures=tuple(temperatures)),
        examples=len(labels),
        point=point,
        accuracies=accuracies,
        costs=tuple(float(each) for each in costs),
        whole=float(whole),
        curve=trade_off(table, points=POINTS),
        optimism_points=100 * too_good,
    )
