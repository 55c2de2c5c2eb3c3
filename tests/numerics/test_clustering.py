from itertools import combinations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from tinyml.numerics.clustering import Clusters, cluster, decode
from tinyml.numerics.clustering_starts import Start

STARTS: tuple[Start, ...] = ("density", "linear", "kmeans++", "optimal")
every_start = pytest.mark.parametrize("start", STARTS)
# Multiples of 2^-6 below 2^10: sums and squares of a few of them are exact in float32.
eighths = st.integers(-(2**10), 2**10).map(lambda number: number / 2**6)
few_weights = st.lists(eighths, min_size=1, max_size=9)
weights = st.lists(st.floats(-100.0, 100.0, width=32), min_size=1, max_size=200).map(torch.tensor)
columns = st.integers(1, 20)


def normal(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def least_inertia(values: list[float], centroids: int, masses: list[float] | None = None) -> float:
    """The least of all ways to cut the sorted values into that many runs."""
    pairs = sorted(zip(values, masses or [1.0] * len(values), strict=True))
    cuts = combinations(range(1, len(pairs)), min(centroids, len(pairs)) - 1)
    return min(sum(spread(pairs[a:b]) for a, b in zip((0, *cut), (*cut, len(pairs)), strict=True)) for cut in cuts)


def spread(pairs: list[tuple[float, float]]) -> float:
    mean = sum(value * mass for value, mass in pairs) / sum(mass for _, mass in pairs)
    return sum(mass * (value - mean) ** 2 for value, mass in pairs)


def distances(weight: Tensor, codebook: Tensor) -> Tensor:
    rows = weight.double().reshape(codebook.shape[0], -1)
    return (rows[:, :, None] - codebook.double()[:, None, :]).abs()


def inertia_of(weight: Tensor, found: Clusters) -> float:
    return float((weight.double() - decode(found.labels, found.codebook).double()).square().sum())


@given(values=few_weights, centroids=st.integers(1, 9))
def test_the_optimal_start_reaches_the_least_inertia_of_all_partitions(values: list[float], centroids: int):
    found = cluster(torch.tensor(values), centroids, start="optimal")
    assert found.inertia == pytest.approx(least_inertia(values, centroids), rel=1e-5, abs=1e-9)


@given(
    pairs=st.lists(st.tuples(eighths, st.sampled_from([0.5, 1.0, 4.0])), min_size=1, max_size=9), k=st.integers(1, 9)
)
def test_importance_weighs_the_squared_errors_of_that_optimum(pairs: list[tuple[float, float]], k: int):
    values, masses = ([pair[side] for pair in pairs] for side in (0, 1))
    found = cluster(torch.tensor(values), k, start="optimal", importance=torch.tensor(masses))
    assert found.inertia == pytest.approx(least_inertia(values, k, masses), rel=1e-5, abs=1e-9)


@given(weight=weights, centroids=columns, start=st.sampled_from(STARTS))
def test_labels_name_the_nearest_centroid_and_inertia_is_their_error(weight: Tensor, centroids: int, start: Start):
    found = cluster(weight, centroids, start=start)
    chosen = distances(weight, found.codebook).gather(2, found.labels.long()[None, :, None])[..., 0]
    torch.testing.assert_close(chosen, distances(weight, found.codebook).amin(dim=2), rtol=1e-14, atol=0.0)
    assert found.inertia == pytest.approx(inertia_of(weight, found), rel=1e-5, abs=1e-30)


@given(weight=weights, centroids=columns, start=st.sampled_from(STARTS))
def test_a_codebook_ascends_and_repeats_its_last_real_centroid(weight: Tensor, centroids: int, start: Start):
    found = cluster(weight, centroids, start=start)
    (row,), used = found.codebook, int(found.used)
    assert used == min(centroids, weight.unique().numel())
    assert bool((row[:used].diff() > 0).all())
    assert bool((row[used:] == row[used - 1]).all())
    assert int(found.labels.max()) < used


@given(weight=weights, centroids=columns, start=st.sampled_from(STARTS))
def test_each_centroid_is_the_mean_of_its_members(weight: Tensor, centroids: int, start: Start):
    found = cluster(weight, centroids, start=start)
    for label in found.labels.unique().tolist():
        members = weight[found.labels == label].double()
        # A mean of float32 numbers rounded to float32, whose sums are taken around the median.
        assert float(found.codebook[0, label]) == pytest.approx(float(members.mean()), rel=1e-6, abs=1e-13)


@given(weight=weights, centroids=columns, start=st.sampled_from(STARTS))
def test_the_order_of_the_weights_only_orders_the_labels(weight: Tensor, centroids: int, start: Start):
    there, back = cluster(weight, centroids, start=start), cluster(weight.flip(0), centroids, start=start)
    assert torch.equal(there.codebook, back.codebook)
    assert torch.equal(there.labels, back.labels.flip(0))


@every_start
@pytest.mark.parametrize("scale", [2.0**-30, 0.5, 2.0**20], ids=str)
def test_scaled_weights_have_a_scaled_codebook_and_the_same_labels(start: Start, scale: float):
    weight = normal(8, 50)
    plain, scaled = cluster(weight, 16, start=start), cluster(weight * scale, 16, start=start)
    torch.testing.assert_close(scaled.codebook, plain.codebook * scale, rtol=1e-6, atol=0.0)
    assert torch.equal(scaled.labels, plain.labels)


@every_start
def test_groups_are_clustered_as_if_each_were_alone(start: Start):
    weight = normal(6, 40) * torch.arange(1, 7)[:, None]
    together = cluster(weight, 5, groups=3, start=start)
    alone = [cluster(part, 5, start=start) for part in weight.chunk(3)]
    if start != "kmeans++":  # which draws for all groups at once
        assert torch.equal(together.codebook, torch.cat([part.codebook for part in alone]))
        assert torch.equal(together.labels, torch.cat([part.labels for part in alone]))
    assert together.codebook.shape == (3, 5)
    assert together.labels.shape == weight.shape


@pytest.mark.parametrize("centroids", [2, 4, 16, 256])
@pytest.mark.parametrize("start", ["density", "linear", "kmeans++"])
def test_no_start_beats_the_optimum(start: Start, centroids: int):
    weight = normal(4000)
    assert cluster(weight, centroids, start="optimal").inertia <= cluster(weight, centroids, start=start).inertia


@pytest.mark.parametrize(("centroids", "excess"), [(4, 1.001), (16, 1.005), (256, 1.02)])
def test_the_density_start_is_near_the_optimum_of_many_normal_weights(centroids: int, excess: float):
    weight = normal(300_000)
    optimum = cluster(weight, centroids, start="optimal").inertia
    assert cluster(weight, centroids).inertia <= excess * optimum
    assert optimum <= cluster(weight, centroids, start="linear").inertia


@pytest.mark.parametrize("centroids", [16, 256])
def test_one_outlier_takes_one_centroid_and_costs_the_others_nothing(centroids: int):
    weight = normal(300_000)
    without = cluster(weight, centroids - 1).inertia
    weight[12345] = 1e6
    found = cluster(weight, centroids)
    assert float(found.codebook[0, -1]) == 1e6
    assert found.inertia <= 1.01 * without


@every_start
def test_centroids_that_start_where_no_weight_is_find_members(start: Start):
    weight = normal(1000)
    weight[:2] = torch.tensor([0.0, 100.0])
    found = cluster(weight, 16, start=start)
    assert found.labels.unique().numel() == 16
    assert found.inertia < 4 * cluster(weight, 16, start="optimal").inertia


def test_many_weights_have_as_little_inertia_as_the_quantizer_of_lloyd_and_max():
    # Max 1960, "Quantizing for minimum distortion", table I: a normal variable of variance 1 in 4 and 16 levels.
    weight = normal(1_000_000)
    assert cluster(weight, 4).inertia / 1e6 == pytest.approx(0.1175, rel=0.01)
    assert cluster(weight, 16).inertia / 1e6 == pytest.approx(0.009497, rel=0.01)


@every_start
def test_the_same_arguments_give_the_same_bits(start: Start):
    first, second = (cluster(normal(70_000), 16, start=start, seed=3) for _ in range(2))
    assert torch.equal(first.codebook, second.codebook)
    assert torch.equal(first.labels, second.labels)
    assert first.inertia == second.inertia


def test_another_seed_draws_another_start():
    one, other = (cluster(normal(5000), 64, start="kmeans++", seed=seed) for seed in (0, 1))
    assert not torch.equal(one.codebook, other.codebook)


@every_start
def test_clustering_what_was_clustered_changes_nothing(start: Start):
    once = cluster(normal(4, 3, 3, 3), 8, groups=2, start=start)
    weight = decode(once.labels, once.codebook)
    again = cluster(weight, 8, groups=2, start=start)
    assert torch.equal(decode(again.labels, again.codebook), weight)
    assert again.inertia == 0.0


def test_weights_far_from_zero_keep_their_clusters():
    weight = 1000.0 + normal(5000).mul(64).round() / 1024  # a step of 2^-10 is exact there
    shifted = cluster(weight - 1000.0, 16, start="optimal")
    assert cluster(weight, 16, start="optimal").inertia == pytest.approx(shifted.inertia, rel=1e-3)


@every_start
@pytest.mark.parametrize("below", [80_000, 100_001], ids=["fewer below", "more below"])
def test_a_gap_among_many_weights_holds_no_centroid(start: Start, below: int):
    """So many are summed up in bins of neighbours, one of which lies across the gap with its mean in the middle."""
    weight = torch.cat([torch.linspace(5.0, 6.0, 100_000), torch.linspace(-6.0, -5.0, below)])
    assert cluster(weight, 3, start=start).labels.unique().numel() == 3
