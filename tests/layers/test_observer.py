import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from tinyml.layers.observer import SAMPLE_SIZE, RangeObserver

values = st.lists(st.floats(-1e9, 1e9, width=32), min_size=1, max_size=8)


def observer(*, batches: int = 4, sample: bool = True, seed: int = 0) -> RangeObserver:
    return RangeObserver(batches=batches, generator=torch.Generator().manual_seed(seed), sample=sample)


@given(batches=st.lists(values, min_size=1, max_size=4))
def test_the_extremes_are_exact_over_all_batches(batches: list[list[float]]):
    watching = observer()
    for batch in batches:
        watching.observe(torch.tensor(batch))
    everything = [value for batch in batches for value in batch]
    assert (watching.low, watching.high) == (min(everything), max(everything))


@pytest.mark.parametrize("place", [0, 1, 2])
def test_a_nan_in_any_batch_stays(place: int):
    watching = observer()
    for k in range(3):
        watching.observe(torch.tensor([1.0, math.nan if k == place else 2.0]))
    assert math.isnan(watching.low)
    assert math.isnan(watching.high)
    assert watching.seen


def test_a_value_that_never_occurred_is_not_seen():
    assert not observer().seen


def test_an_infinity_is_an_extreme():
    watching = observer()
    watching.observe(torch.tensor([1.0, -math.inf]))
    assert watching.low == -math.inf
    assert watching.seen


def test_the_sample_is_bounded_and_even_over_batches():
    watching = observer(batches=4)
    for k in range(4):
        watching.observe(torch.full((SAMPLE_SIZE,), float(k)))
    counts = torch.bincount(watching.sample().long())
    assert counts.tolist() == [SAMPLE_SIZE // 4] * 4


def test_the_sample_holds_only_values_that_occurred_and_as_many_as_a_small_batch_has():
    watching = observer()
    watching.observe(torch.arange(10.0))
    assert watching.sample().numel() == 10
    assert set(watching.sample().tolist()) <= set(range(10))


def test_the_same_seed_draws_the_same_sample():
    samples = []
    for _ in range(2):
        watching = observer(batches=100, seed=3)
        watching.observe(torch.arange(100_000.0))
        samples.append(watching.sample())
    assert torch.equal(*samples)


def test_without_a_sample_only_the_extremes_are_kept():
    watching = observer(sample=False)
    watching.observe(torch.arange(10.0))
    assert watching.sample().numel() == 0
    assert (watching.low, watching.high) == (0.0, 9.0)
