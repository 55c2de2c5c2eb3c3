"""The mean over examples, of times that a reader can add up."""

import numpy as np
import pytest

from tinyml.measure.latency import LatencyRun
from tinyml.measure.latency_mean import latency_mean_ms, latency_mean_ratio, mean_of_medians
from tinyml.measure.statistics import resampled_times

NONE = np.empty(0, np.int64)


def run(after: np.ndarray, taken: np.ndarray, *, is_baseline: bool = False) -> LatencyRun:
    """A network beside a baseline that always takes 6 ms, in 4 rounds of 4 calls."""
    before = resampled_times(np.full((4, 4), 6.0), seed=0)
    times = before if is_baseline else resampled_times(after, seed=0)
    return LatencyRun(
        times=times,
        baseline=before,
        control=before,
        is_baseline=is_baseline,
        facts={},
        taken=taken,
        baseline_taken=NONE,
    )


ALTERNATELY = np.tile([1.0, 5.0], (4, 2))


def test_one_hiccup_is_not_the_networks() -> None:
    times, exits = np.array([1.0, 1.0, 90.0, 5.0, 5.0, 5.0]), np.array([0, 0, 0, 1, 1, 1])
    assert mean_of_medians(times, exits) == 3.0


def test_the_mean_weighs_each_exit_by_its_calls() -> None:
    found = latency_mean_ms(run(ALTERNATELY, np.array([0, 1])), seed=0)
    assert (found.value, found.interval, found.n) == (3.0, (3.0, 3.0), 16)
    assert found.details == {
        "mean_of_calls_ms": 3.0, "exit_0_calls": 8, "exit_0_median_ms": 1.0, "exit_1_calls": 8, "exit_1_median_ms": 5.0,
    }  # fmt: skip


def test_the_ratio_is_that_of_the_means() -> None:
    found = latency_mean_ratio(run(ALTERNATELY, np.array([0, 1])), seed=0)
    assert (found.value, found.interval) == (2.0, (2.0, 2.0))
    assert found.details["verdict"] == "faster"
    assert found.details["ratio_of_means_of_calls"] == 2.0


def test_the_baseline_is_held_against_its_copy() -> None:
    found = latency_mean_ratio(run(ALTERNATELY, NONE, is_baseline=True), seed=0)
    assert (found.value, found.details["verdict"]) == (1.0, "A/A control")


@pytest.mark.parametrize("taken", [np.array([0, 0]), NONE], ids=["all leave at once", "no exits"])
def test_one_kind_of_call_has_its_median_as_mean(taken: np.ndarray) -> None:
    samples = np.arange(16.0).reshape(4, 4)
    assert latency_mean_ms(run(samples, taken), seed=0).value == 7.5
