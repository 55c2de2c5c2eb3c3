"""Two processes on this machine's CPU; what each does is in two_processes.py."""

from collections.abc import Callable
from typing import Any

import pytest

from tinyml.errors import UsageError
from tinyml.training import ALONE, joined

Outcome = Callable[[str], list[Any]]


def test_a_failure_of_both_is_reported_by_the_first(outcome: Outcome) -> None:
    assert outcome("failing_alike") == [
        ["DataError", "the same in both", 2],
        ["ProcessError", "process 0 of 2: the same in both", 2],
    ]


def test_a_failure_of_one_reaches_the_first_before_it_begins(outcome: Outcome) -> None:
    first, second = outcome("failing_alone")
    assert first == ["ProcessError", "process 1 of 2: only here", 2]
    assert second[0] == "ProcessError"


@pytest.mark.slow
def test_a_process_that_ends_is_noticed(outcome: Outcome) -> None:
    first, second = outcome("killed")
    assert second is None
    assert first[0] == "ProcessError"
    assert "ended before the work was done" in first[1]
    assert "--resume" in first[1]


def test_a_process_alone_joins_nothing() -> None:
    with joined() as processes:
        processes.meet()
        assert processes is ALONE
        assert processes.broadcast("this") == "this"
        assert processes.mean(0.5) == 0.5


def test_a_rank_beyond_the_world_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RANK", "2")
    monkeypatch.setenv("WORLD_SIZE", "2")
    with pytest.raises(UsageError, match="RANK is 2 and WORLD_SIZE 2: start the processes with torchrun"), joined():
        pass
