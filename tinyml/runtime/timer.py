"""The interleaved timer: several candidates timed in one run, so that noise of the machine falls on all alike.

Timing one candidate after the other compares the machine at two moments: two copies of one model differed by up to 31 %
that way. Here a run consists of rounds; in each round every candidate has one block of calls, in an order drawn anew:

    warm-up:  every candidate in turn, until its median settles
    round r:  for candidate in shuffled(candidates): 1 call untimed, then `block` calls timed each on its own

The untimed call brings the candidate's weights back into the caches, as they are where a network runs again and again.
An A/A control is a second copy of one candidate, timed like the others: what differs between the two is noise.
"""

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import final

import numpy as np
from numpy.typing import NDArray

from tinyml.progress import Progress, Silent

Clock = Callable[[], int]
"""Returns nanoseconds that never go back."""

Call = Callable[[int], object]
"""Runs a candidate on the i-th input of a stream that all candidates share."""


@final
@dataclass(frozen=True, kw_only=True)
class TimerSettings:
    """How long and how often to time.

    Attributes:
        rounds: rounds wanted.
        block: timed calls of a candidate in a round; rounds x block is the number of samples, and p99 wants 662.
        seconds: no new round starts after this time, once there were `minimum_rounds`.
        minimum_rounds: rounds that are made whatever they cost: 4 x 16 = 64 samples, which p90 wants.
        minimum_warm_up_seconds: the shortest warm-up of one candidate: a processor takes time to raise its clock.
        warm_up_seconds: the longest warm-up of one candidate.
        settled: the warm-up ends when two medians of successive blocks differ by at most this share (0-1).
    """

    rounds: int = 42
    block: int = 16
    seconds: float = 60.0
    minimum_rounds: int = 4
    minimum_warm_up_seconds: float = 0.2
    warm_up_seconds: float = 3.0
    settled: float = 0.03


@final
@dataclass(frozen=True, kw_only=True)
class Timing:
    """What one interleaved run measured.

    Attributes:
        samples_ms: per candidate, milliseconds (rounds, block) of every call; row r was timed in round r.
        warm_up_calls: per candidate, untimed calls before the first round.
        settled: per candidate, whether the warm-up ended because the median settled, and not because time was up.
    """

    samples_ms: Mapping[str, NDArray[np.float64]]
    warm_up_calls: Mapping[str, int]
    settled: Mapping[str, bool]


def time_interleaved(
    candidates: Mapping[str, Call],
    *,
    settings: TimerSettings | None = None,
    seed: int = 0,
    clock: Clock = time.perf_counter_ns,
    progress: Progress | None = None,
) -> Timing:
    """Return the times of all candidates, measured in randomised interleaved blocks.

    Args:
        candidates: what to time, by name; the i-th call of each gets the number i, whatever the order.
        settings: how long and how often.
        seed: of the order within the rounds.
        clock: nanoseconds; another one than the machine's is for tests.
        progress: told of every round.
    """
    settings = settings or TimerSettings()
    progress = progress or Silent()
    progress.status("warming up")
    warm = {name: _warm_up(call, settings, clock) for name, call in candidates.items()}
    order = np.random.default_rng(seed)
    names = list(candidates)
    rows: dict[str, list[list[int]]] = {name: [] for name in names}
    start = clock()
    for done in progress.track(range(settings.rounds), label="timing", total=settings.rounds):
        if done >= settings.minimum_rounds and clock() - start > settings.seconds * 1e9:
            break
        for index in order.permutation(len(names)):
            name = names[int(index)]
            rows[name].append(_time_block(candidates[name], done * settings.block, settings.block, clock))
    return Timing(
        samples_ms={name: np.asarray(blocks, np.float64) / 1e6 for name, blocks in rows.items()},
        warm_up_calls={name: calls for name, (calls, _) in warm.items()},
        settled={name: settled for name, (_, settled) in warm.items()},
    )


def _time_block(call: Call, first: int, block: int, clock: Clock) -> list[int]:
    """Return the nanoseconds of `block` calls on the inputs from number `first` on, after one untimed call."""
    call(first)
    times = []
    for index in range(first, first + block):
        before = clock()
        call(index)
        times.append(clock() - before)
    return times


def _warm_up(call: Call, settings: TimerSettings, clock: Clock) -> tuple[int, bool]:
    """Call until the median of a block settles or time is up; return the number of calls and whether it settled."""
    start = clock()
    previous = float("inf")
    calls = 0
    while True:
        median = float(np.median(_time_block(call, calls, settings.block, clock)))
        calls += settings.block + 1
        seconds = (clock() - start) / 1e9
        settled = previous != float("inf") and abs(median - previous) <= settings.settled * previous
        if settled and seconds >= settings.minimum_warm_up_seconds:
            return calls, True
        if seconds > settings.warm_up_seconds:
            return calls, settled
        previous = median
