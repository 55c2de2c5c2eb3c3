import numpy as np
import pytest

from tinyml.runtime.timer import TimerSettings, time_interleaved

QUICK = TimerSettings(rounds=6, block=3, minimum_warm_up_seconds=0)


class FakeMachine:
    """A clock, and candidates that move it by a fixed time; it writes down who was called."""

    def __init__(self):
        self.now = 0
        self.calls = []

    def clock(self):
        return self.now

    def candidate(self, name, *milliseconds):
        def call(index):
            self.calls.append((name, index))
            done = sum(caller == name for caller, _ in self.calls) - 1
            self.now += int(1e6 * milliseconds[min(done, len(milliseconds) - 1)])

        return call


def test_every_call_is_timed_by_itself():
    machine = FakeMachine()
    timing = time_interleaved(
        {"a": machine.candidate("a", 2), "b": machine.candidate("b", 5)}, settings=QUICK, clock=machine.clock
    )
    np.testing.assert_array_equal(timing.samples_ms["a"], np.full((6, 3), 2.0))
    np.testing.assert_array_equal(timing.samples_ms["b"], np.full((6, 3), 5.0))


def rounds_of(machine, warm_up):
    names = [name for name, _ in machine.calls[warm_up:]]
    blocks = names[:: QUICK.block + 1]
    return [tuple(blocks[start : start + 3]) for start in range(0, len(blocks), 3)]


def timed(seed):
    machine = FakeMachine()
    timing = time_interleaved(
        {name: machine.candidate(name, 1) for name in "abc"}, settings=QUICK, seed=seed, clock=machine.clock
    )
    return rounds_of(machine, sum(timing.warm_up_calls.values()))


def test_each_round_has_each_candidate_once_in_an_order_of_its_own():
    rounds = timed(seed=0)
    assert len(rounds) == 6
    assert all(sorted(entry) == ["a", "b", "c"] for entry in rounds)
    assert len(set(rounds)) > 1


def test_the_seed_decides_the_order():
    assert timed(seed=3) == timed(seed=3)
    assert timed(seed=3) != timed(seed=4)


def test_all_candidates_see_the_same_inputs():
    machine = FakeMachine()
    time_interleaved({name: machine.candidate(name, 1) for name in "ab"}, settings=QUICK, clock=machine.clock)
    seen = {name: [index for caller, index in machine.calls if caller == name] for name in "ab"}
    assert seen["a"] == seen["b"]
    assert set(range(6 * 3)) <= set(seen["a"])


def test_the_warm_up_goes_on_until_the_median_settles():
    machine = FakeMachine()
    falling = [8] * 4 + [4] * 4 + [2] * 4 + [1]
    timing = time_interleaved({"a": machine.candidate("a", *falling)}, settings=QUICK, clock=machine.clock)
    assert timing.warm_up_calls["a"] == 5 * 4  # four levels, and the last once more
    assert timing.settled["a"]
    assert (timing.samples_ms["a"] == 1).all()


def test_a_candidate_that_never_settles_is_told():
    machine = FakeMachine()
    restless = [1, 1, 1, 1, 9, 9, 9, 9] * 5000
    settings = TimerSettings(rounds=1, block=3, warm_up_seconds=0.1)
    timing = time_interleaved({"a": machine.candidate("a", *restless)}, settings=settings, clock=machine.clock)
    assert not timing.settled["a"]


@pytest.mark.parametrize(("milliseconds", "rounds"), [(1, 6), (2000, 4)], ids=["quick", "slow"])
def test_slow_candidates_get_fewer_rounds_but_enough(milliseconds, rounds):
    machine = FakeMachine()
    settings = TimerSettings(rounds=6, block=3, seconds=10, minimum_rounds=4, minimum_warm_up_seconds=0)
    timing = time_interleaved({"a": machine.candidate("a", milliseconds)}, settings=settings, clock=machine.clock)
    assert timing.samples_ms["a"].shape == (rounds, 3)


def test_the_default_settings_are_enough_for_all_tails():
    settings = TimerSettings()
    assert settings.rounds * settings.block >= 662
    assert settings.minimum_rounds * settings.block >= 64
