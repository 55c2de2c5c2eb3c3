"""Two processes on this machine's CPU; what each does is in two_processes.py."""

from collections.abc import Callable
from typing import Any

Outcome = Callable[[str], list[Any]]


def test_batchnorm_over_two_halves_is_that_over_the_whole(outcome: Outcome) -> None:
    for differences in outcome("normalised"):
        # Values of about 10 and sums of at most 128: rounding in another order is below 128 x 10 x 2^-24.
        assert max(differences.values()) < 1e-4
        assert len(differences) == 5
