"""When an example leaves a network with exits: a rule, and a threshold and a temperature for each early exit."""

from dataclasses import dataclass
from typing import Final, final

import numpy as np
from numpy.typing import NDArray

from tinyml.errors import RecipeError, did_you_mean
from tinyml.numerics.exit_rules import RULES, ExitRule, confidences, exits_taken, never, threshold_fault

RULE_KEY: Final = "exit_rule"
"""Key of the rule among the metadata of a one-file network with exits."""


@final
@dataclass(frozen=True, kw_only=True)
class ExitPolicy:
    """The rule, and a threshold and a temperature for each exit but the last; see `tinyml.numerics.exit_rules`.

    Attributes:
        rule: how confidences are computed.
        thresholds: an example leaves where its confidence is at least this: 0 to 1, or `NEVER`; with patience whole
            numbers from 1.
        temperatures: what logits are divided by before the softmax, above 0; without effect on patience.
    """

    rule: ExitRule
    thresholds: tuple[float, ...]
    temperatures: tuple[float, ...]

    def __post_init__(self) -> None:
        """Refuse what no rule can mean.

        Raises:
            RecipeError: the rule is unknown, or a threshold or temperature is missing or out of range.
        """
        if self.rule not in RULES:
            allowed, near = ", ".join(RULES), did_you_mean(self.rule, RULES)
            raise RecipeError(f"exit rule '{self.rule}' is unknown; allowed are {allowed}.{near}")
        if not self.thresholds or len(self.thresholds) != len(self.temperatures):
            raise RecipeError(
                f"{len(self.thresholds)} thresholds and {len(self.temperatures)} temperatures; every exit but the last "
                "wants one of each."
            )
        for index, (threshold, temperature) in enumerate(zip(self.thresholds, self.temperatures, strict=True)):
            if fault := threshold_fault(self.rule, threshold):
                raise RecipeError(f"threshold of exit {index}: {fault}.")
            if not 0 < temperature < float("inf"):
                raise RecipeError(f"temperature of exit {index}: {temperature:g}; allowed is a finite number above 0.")

    def taken(self, logits: NDArray[np.float32]) -> NDArray[np.int64]:
        """Return the exit (N,) that each example takes, for the logits (exits + 1, N, classes) of all exits."""
        return exits_taken(confidences(self.rule, logits, self.temperatures), self.thresholds)

    def leaving_at(self, exit_index: int) -> tuple[float, ...]:
        """Return the thresholds at which every example leaves at this exit, the number of exits being the end."""
        none, always = never(self.rule, exits=len(self.thresholds)), 1.0 if self.rule == "patience" else 0.0
        return tuple(always if index == exit_index else none for index in range(len(self.thresholds)))
