"""Two processes on this machine's CPU; what each does is in two_processes.py."""

from collections.abc import Callable
from typing import Any

from tinyml.torchrun import Launch
from tinyml.training import Processes

Outcome = Callable[[str], list[Any]]


def test_what_the_first_process_tells_all_hear(outcome: Outcome) -> None:
    expected = {"order": {"order": 7}, "mean": 0.5, "gathered": [[0.0, 0.0], [1.0, 1.0], [1.0, 1.0]]}
    assert outcome("told") == [expected, expected]


def test_shares_follow_one_another_and_leave_nothing_out() -> None:
    shares = [Processes(Launch(rank=rank, world_size=3)).share(8) for rank in range(3)]
    assert [list(range(8))[share] for share in shares] == [[0, 1], [2, 3, 4], [5, 6, 7]]
