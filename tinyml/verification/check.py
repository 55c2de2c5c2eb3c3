"""One thing that was checked, and all of them together."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal, final

Outcome = Literal["passed", "failed", "noted"]


@final
@dataclass(frozen=True, kw_only=True)
class Check:
    """One check.

    Attributes:
        name: what was checked.
        value: what was found, with its unit.
        bound: what is allowed; "" where nothing is demanded.
        outcome: passed or failed against the bound; "noted" where nothing is demanded.
        explanation: one sentence on what it means, or why it failed or was not made.
    """

    name: str
    value: str
    bound: str = ""
    outcome: Outcome
    explanation: str = ""


@final
@dataclass(frozen=True, kw_only=True)
class Verification:
    """Every check of one file."""

    checks: tuple[Check, ...]

    @property
    def passed(self) -> bool:
        """Whether no check failed."""
        return not self.failed

    @property
    def failed(self) -> tuple[Check, ...]:
        """The checks that failed."""
        return tuple(check for check in self.checks if check.outcome == "failed")

    def to_json(self) -> dict[str, object]:
        """Return the verification as JSON values."""
        return {"passed": self.passed, "checks": [vars(check) for check in self.checks]}

    @staticmethod
    def from_json(facts: Mapping[str, object]) -> "Verification":
        """Return the verification that `to_json` wrote."""
        checks = facts["checks"]
        if not isinstance(checks, list):
            raise TypeError("checks must be a list")
        return Verification(checks=tuple(Check(**check) for check in checks))


def outcome(passed: bool) -> Outcome:
    """Return the word for a check with a bound."""
    return "passed" if passed else "failed"
