import pytest
import torch
from torch import Tensor

from tinyml.numerics.clustering_starts import Start, starting_codebook
from tinyml.numerics.sorted_weights import SortedWeights

STARTS: tuple[Start, ...] = ("density", "linear", "kmeans++", "optimal")


def start_of(weight: Tensor, centroids: int, start: Start, *, seed: int = 0) -> Tensor:
    return starting_codebook(SortedWeights.of(weight, None), centroids, start, seed)


def normal(*shape: int) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(0))


def test_linear_divides_the_range_evenly():
    assert start_of(torch.tensor([[2.0, -1.0, 0.5]]), 4, "linear").tolist() == [[-1.0, 0.0, 1.0, 2.0]]


def test_density_divides_uniform_weights_evenly():
    weight = torch.linspace(0.0, 1.0, 4001)[None]
    expected = (torch.arange(8) + 0.5) / 8
    torch.testing.assert_close(start_of(weight, 8, "density")[0], expected, rtol=0.0, atol=1 / 4000)


def test_density_is_the_quantile_of_a_normal_variable_three_times_as_wide():
    # The cube root of a normal density is one of variance 3. The outermost lie where a million weights are too few.
    shares = (torch.arange(16, dtype=torch.float64) + 0.5) / 16
    expected = torch.special.ndtri(shares) * 3**0.5
    found = start_of(normal(1, 1_000_000), 16, "density")[0].double()
    torch.testing.assert_close(found[1:-1], expected[1:-1], rtol=0.02, atol=0.02)


@pytest.mark.parametrize("outlier", [1e2, 1e6, 1e30], ids=str)
def test_an_outlier_takes_at_most_one_of_the_centroids_by_density(outlier: float):
    weight = normal(1, 100_000)
    weight[0, 7] = outlier
    assert int((start_of(weight, 256, "density") > 6.0).sum()) <= 2


def test_drawn_centroids_are_weights_that_differ():
    weight = normal(2, 500)
    drawn = start_of(weight, 20, "kmeans++")
    assert all(row.unique().numel() == 20 for row in drawn)
    assert all(bool(torch.isin(row, weights).all()) for row, weights in zip(drawn, weight, strict=True))


def test_draws_prefer_what_is_far():
    weight = torch.cat([torch.zeros(999) + torch.arange(999) * 1e-6, torch.tensor([1.0])])[None]
    assert all(1.0 in start_of(weight, 2, "kmeans++", seed=seed) for seed in range(5))


def test_optimal_starts_at_the_means_of_the_best_runs():
    assert start_of(torch.tensor([[0.0, 1.0, 10.0, 12.0, 50.0]]), 3, "optimal").tolist() == [[0.5, 11.0, 50.0]]


def test_too_many_groups_for_the_optimum_start_by_density():
    weight = normal(300, 200)
    assert torch.equal(start_of(weight, 100, "optimal"), start_of(weight, 100, "density"))
    assert not torch.equal(start_of(weight[:2], 100, "optimal"), start_of(weight[:2], 100, "density"))


@pytest.mark.parametrize("start", STARTS)
def test_centroids_of_every_group_are_in_order(start: Start):
    codebook = start_of(normal(3, 200), 8, start)
    assert codebook.shape == (3, 8)
    assert bool((codebook.diff() >= 0.0).all())
