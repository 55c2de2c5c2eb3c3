import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tinyml.measure.statistics import (
    area_under_roc_interval,
    median_interval,
    percentiles,
    ratio_of_medians,
    wilson_interval,
)


@pytest.mark.parametrize(
    ("successes", "n", "expected"),
    [(8, 10, (0.4902, 0.9433)), (0, 10, (0.0, 0.2775)), (10, 10, (0.7225, 1.0)), (4383, 5000, (0.8672, 0.8855))],
    ids=["8 of 10", "none", "all", "many"],
)
def test_wilsons_interval_has_the_values_worked_by_hand(successes, n, expected):
    # worked out from the formula by hand; none of 10: z^2 / (10 + z^2)
    assert wilson_interval(successes, n) == pytest.approx(expected, abs=2e-4)


@given(st.integers(1, 500).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n))))
def test_wilsons_interval_solves_its_equation_and_holds_the_share(trial):
    successes, n = trial
    share = successes / n
    for end in wilson_interval(successes, n):
        if 0 < end < 1:  # the ends are where the share lies 1.96 standard errors off
            assert abs(share - end) == pytest.approx(1.959963984540054 * np.sqrt(end * (1 - end) / n), abs=1e-9)


@pytest.mark.parametrize(
    ("count", "reported"), [(63, {"p50"}), (64, {"p50", "p90"}), (661, {"p50", "p90"}), (662, {"p50", "p90", "p99"})]
)
def test_tails_are_reported_only_with_samples_enough(count, reported):
    found, missing = percentiles(np.arange(float(count)))
    assert set(found) == reported
    assert len(missing) == 3 - len(reported)


def test_percentiles_of_a_ruler():
    found, missing = percentiles(np.arange(1001.0))
    assert (found, missing) == ({"p50": 500.0, "p90": 900.0, "p99": 990.0}, ())


def test_a_missing_percentile_says_what_it_wants():
    assert percentiles(np.zeros(10))[1] == ("p90: 10 samples, 64 needed", "p99: 10 samples, 662 needed")


def test_half_the_time_is_twice_the_speed():
    times = np.random.default_rng(0).gamma(9, size=(40, 16))
    ratio, (low, high) = ratio_of_medians(times, times / 2, seed=0)
    assert ratio == pytest.approx(2)
    assert low == high == pytest.approx(2)  # both are resampled by the same rounds


def test_the_interval_covers_the_true_ratio_about_as_often_as_it_says():
    generator = np.random.default_rng(1)
    covered = 0
    for seed in range(60):
        a, b = generator.normal(10, 1, (20, 4)), generator.normal(8, 1, (20, 4))
        low, high = ratio_of_medians(a, b, seed=seed)[1]
        covered += low <= 1.25 <= high
    assert covered >= 50  # 57 expected; below 50 has a probability under 1 in 1,000


def test_noise_shared_by_a_round_widens_the_interval():
    generator = np.random.default_rng(2)
    moods, calls = generator.normal(10, 1, (30, 1)), generator.normal(10, 1, (30, 16))
    shared = np.broadcast_to(moods, (30, 16))
    wide, narrow = (np.subtract(*median_interval(entry, seed=0)[::-1]) for entry in (shared, calls))
    assert wide > 2 * narrow


def test_the_same_seed_gives_the_same_interval():
    times = np.random.default_rng(3).gamma(9, size=(10, 8))
    assert median_interval(times, seed=5) == median_interval(times, seed=5)


def test_the_interval_of_an_area_holds_it_and_narrows_with_examples():
    generator = np.random.default_rng(4)

    def width(count):
        scores, positive = generator.normal(size=2 * count), np.arange(2 * count) < count
        scores[positive] += 1.0
        low, high = area_under_roc_interval(scores, positive, seed=0)
        assert low < 0.76 < high  # the area between two normals one apart: Phi(1 / sqrt 2) = 0.760
        return high - low

    assert width(400) < width(40)
