import math
from itertools import product

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from tinyml.numerics.affine import Grid, affine_parameters, fake_quantize, unsigned_grid
from tinyml.numerics.ranges import MSE_CANDIDATES, RANGES, entropy_range, mse_range, percentile_range

EIGHT, FOUR = unsigned_grid(8), unsigned_grid(4)
every_method = pytest.mark.parametrize("method", RANGES.values(), ids=RANGES)


def normal(count: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(count, generator=torch.Generator().manual_seed(seed))


def extremes(sample: torch.Tensor) -> tuple[float, float]:
    return float(sample.min()), float(sample.max())


def quantization_error(sample: torch.Tensor, low: float, high: float, grid: Grid) -> float:
    scale, zero_point = affine_parameters(torch.tensor(low), torch.tensor(high), grid)
    return float((fake_quantize(sample, scale, zero_point, grid) - sample).square().mean())


def least_error(sample: torch.Tensor, grid: Grid) -> float:
    """The least error of any range that the search may choose, by trying each."""
    low, high = extremes(sample)
    shares = [k / MSE_CANDIDATES for k in range(1, MSE_CANDIDATES + 1)]
    lows = [low * share for share in shares] if low < 0 else [0.0]
    highs = [high * share for share in shares] if high > 0 else [0.0]
    return min(quantization_error(sample, *pair, grid) for pair in product(lows, highs))


@every_method
@pytest.mark.parametrize(
    "sample",
    [
        torch.zeros(100),
        torch.full((100,), 3.0),
        torch.full((100,), -3.0),
        torch.tensor([5.0]),
        torch.tensor([-1.0, 2.0]),
    ],
    ids=["zeros", "a constant above", "a constant below", "one value", "two values"],
)
def test_few_or_equal_values_give_a_finite_range_that_holds_them(method, sample: torch.Tensor):
    low, high = method(sample, *extremes(sample), EIGHT)
    assert math.isfinite(low)
    assert math.isfinite(high)
    assert min(low, 0.0) <= float(sample.min()) <= float(sample.max()) <= max(high, 0.0)


@every_method
@given(values=st.lists(st.floats(-1e3, 1e3, width=32), min_size=1, max_size=50))
def test_a_range_lies_within_the_extremes_and_zero(method, values: list[float]):
    sample = torch.tensor(values)
    low, high = method(sample, *extremes(sample), FOUR)
    slack = 1e-6 * max(map(abs, values))  # one rounding of a product
    assert min(0.0, min(values)) - slack <= low <= high <= max(0.0, max(values)) + slack


@every_method
@pytest.mark.parametrize("sign", [1.0, -1.0], ids=["positive", "negative"])
def test_one_sided_values_keep_a_one_sided_range(method, sign: float):
    sample = sign * normal(2000).abs()
    low, high = method(sample, *extremes(sample), EIGHT)
    assert (low >= 0.0) if sign > 0 else (high <= 0.0)


@every_method
def test_a_sample_that_missed_the_only_value_keeps_the_extremes_finite(method):
    low, high = method(torch.zeros(10), 0.0, 4.0, EIGHT)
    assert low == 0.0
    assert 0.0 <= high <= 4.0


def test_minmax_keeps_the_extremes():
    assert RANGES["minmax"](torch.empty(0), -3.0, 9.0, EIGHT) == (-3.0, 9.0)


def test_percentile_cuts_one_in_ten_thousand_from_one_sided_values():
    ramp = torch.arange(20_001.0)
    assert percentile_range(ramp, 0.0, 20_000.0, EIGHT) == (0.0, 19_998.0)


def test_percentile_cuts_half_as_much_from_each_end_of_two_sided_values():
    ramp = torch.arange(40_001.0) - 20_000.0
    assert percentile_range(ramp, -20_000.0, 20_000.0, EIGHT) == (-19_998.0, 19_998.0)


def test_percentile_does_not_depend_on_the_order_of_the_sample():
    ramp = torch.arange(20_001.0)[torch.randperm(20_001, generator=torch.Generator().manual_seed(0))]
    assert percentile_range(ramp, 0.0, 20_000.0, EIGHT) == (0.0, 19_998.0)


SAMPLES = {
    "normal": normal(1500),
    "rectified normal": normal(1500).clamp(min=0),
    "heavy tails": normal(1500) * normal(1500, seed=1).exp(),
    "one outlier": torch.cat([normal(1500), torch.tensor([50.0])]),
    "shifted": normal(1500) + 1.0,
}


@pytest.mark.parametrize("sample", SAMPLES.values(), ids=SAMPLES)
@pytest.mark.parametrize("grid", [EIGHT, FOUR], ids=["8 bits", "4 bits"])
def test_mse_is_nearly_as_good_as_trying_every_range(sample: torch.Tensor, grid: Grid):
    """The model scale^2 / 12 stands for the real rounding error. The square of an error that is uniform over a step has the
    standard deviation scale^2 / 180^0.5, 0.9 of that mean; the mean of 1500 of them strays by 2.3 %, three times that over
    thousands of candidates, and both the chosen and the best one stray: 1.07^2."""
    low, high = mse_range(sample, *extremes(sample), grid)
    assert quantization_error(sample, low, high, grid) <= least_error(sample, grid) * 1.07**2


def test_mse_cuts_a_lone_outlier_where_both_errors_balance():
    """Least of (100 - h)^2 + 5000 (h / 15)^2 / 12 is where (100 - h) 2700 = 5000 h; candidates lie 100 / 64 apart."""
    sample = torch.cat([normal(5000).abs(), torch.tensor([100.0])])
    assert mse_range(sample, 0.0, 100.0, FOUR) == (0.0, pytest.approx(270_000 / 7_700, abs=100 / 64))


def test_mse_keeps_the_extremes_of_uniform_values():
    sample = torch.linspace(-1, 1, 4001)
    assert mse_range(sample, -1.0, 1.0, EIGHT) == pytest.approx((-1.0, 1.0))


def test_mse_counts_no_rounding_error_for_exact_zeros():
    """A million zeros beside the values must not make clipping them worthwhile."""
    values = normal(2000).abs()
    with_zeros = torch.cat([values, torch.zeros(1_000_000)])
    assert mse_range(with_zeros, 0.0, float(values.max()), EIGHT) == mse_range(values, 0.0, float(values.max()), EIGHT)


@pytest.mark.parametrize("two_sided", [False, True], ids=["one-sided", "two-sided"])
def test_entropy_cuts_an_outlier(two_sided: bool):
    body = normal(50_000) if two_sided else normal(50_000).abs()
    sample = torch.cat([body, torch.tensor([100.0])])
    assert entropy_range(sample, *extremes(sample), EIGHT)[1] < 50.0


@pytest.mark.parametrize("low", [0.0, -1.0], ids=["one-sided", "two-sided"])
def test_entropy_keeps_uniform_values(low: float):
    sample = torch.linspace(low, 1.0, 200_000)
    assert entropy_range(sample, low, 1.0, EIGHT) == pytest.approx((low, 1.0), abs=1 / 128)


def test_entropy_takes_the_extremes_on_a_grid_finer_than_its_histogram():
    sample = torch.linspace(-1, 3, 1000)
    assert entropy_range(sample, -1.0, 3.0, unsigned_grid(16)) == (-1.0, 3.0)


@pytest.mark.parametrize("method", ["percentile", "mse", "entropy"])
def test_the_range_of_negated_values_is_the_negated_range(method: str):
    sample = normal(3000) + 0.5
    low, high = RANGES[method](sample, *extremes(sample), EIGHT)
    mirrored = RANGES[method](-sample, *extremes(-sample), EIGHT)
    assert mirrored == pytest.approx((-high, -low), rel=0.02)  # ties between candidates; one rank of a percentile
