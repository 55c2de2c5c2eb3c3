"""Degenerate weights, and arguments that are refused."""

import pytest
import torch
from torch import Tensor

from tinyml.numerics.clustering import cluster
from tinyml.numerics.clustering_starts import Start

STARTS: tuple[Start, ...] = ("density", "linear", "kmeans++", "optimal")
every_start = pytest.mark.parametrize("start", STARTS)


def normal(*shape: int) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(0))


def test_zeros_are_weights_like_others():
    found = cluster(torch.tensor([0.0, 1.0, 10.0, 11.0]), 2)
    assert found.codebook.tolist() == [[0.5, 10.5]]


@every_start
@pytest.mark.parametrize(
    ("values", "codebook", "used"),
    [
        ([0.0, 0.0, 0.0], [0.0, 0.0, 0.0], 1),
        ([3.0, 3.0], [3.0, 3.0, 3.0], 1),
        ([-2.0], [-2.0, -2.0, -2.0], 1),
        ([1.0, -1.0, 1.0, 1.0], [-1.0, 1.0, 1.0], 2),
        ([1.0, 2.0, 3.0, 2.0], [1.0, 2.0, 3.0], 3),
    ],
    ids=["all zero", "constant", "a single weight", "two values", "as many values as centroids"],
)
def test_no_more_values_than_centroids_are_kept_exactly(start: Start, values: list[float], codebook: list[float], used):
    found = cluster(torch.tensor(values), 3, start=start)
    assert (found.codebook.tolist(), found.used.tolist(), found.inertia) == ([codebook], [used], 0.0)


def test_two_values_among_many_weights_are_kept_exactly():
    weight = (normal(200_000) > 1.0).float() + 7.0
    assert cluster(weight, 256).codebook.unique().tolist() == [7.0, 8.0]


def test_groups_with_few_values_do_not_disturb_their_neighbours():
    weight = torch.stack([torch.zeros(50), normal(50), torch.ones(50)])
    found = cluster(weight, 4, groups=3)
    assert found.used.tolist() == [1, 4, 1]
    assert torch.equal(found.codebook[1:2], cluster(weight[1:2], 4).codebook)


def test_neighbouring_numbers_of_float32_are_told_apart():
    weight = 1.0 + torch.arange(64) * 2.0**-23
    found = cluster(weight, 16, start="optimal")
    assert found.codebook.unique().numel() == 16
    assert found.labels.unique().numel() == 16


@pytest.mark.parametrize("dtype", [torch.float64, torch.float16, torch.bfloat16], ids=str)
def test_other_float_types_are_read_as_float32(dtype: torch.dtype):
    weight = normal(300).to(dtype)
    found, same = cluster(weight, 8), cluster(weight.float(), 8)
    assert found.codebook.dtype == torch.float32
    assert torch.equal(found.codebook, same.codebook)
    assert torch.equal(found.labels, same.labels)


def test_importance_zero_everywhere_counts_all_alike():
    weight = normal(300)
    assert torch.equal(cluster(weight, 8, importance=torch.zeros(300)).codebook, cluster(weight, 8).codebook)


def test_weights_without_importance_leave_the_centroids_to_the_others():
    weight, importance = torch.tensor([0.0, 1.0, 2.0, 10.0]), torch.tensor([0.0, 1.0, 1.0, 1.0])
    found = cluster(weight, 2, importance=importance, start="optimal")
    assert found.codebook[0].tolist() == pytest.approx([1.5, 10.0], rel=1e-5)
    assert found.inertia == pytest.approx(0.5, rel=1e-5)


@pytest.mark.parametrize("value", [torch.nan, torch.inf, -torch.inf, 1e300], ids=str)
def test_what_is_not_finite_as_float32_is_refused(value: float):
    with pytest.raises(ValueError, match="NaN or infinity"):
        cluster(torch.tensor([1.0, value, 2.0], dtype=torch.float64), 2)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"centroids": 0}, "centroids: 0; allowed are 1 to 256"),
        ({"centroids": 257}, "centroids: 257; allowed are 1 to 256"),
        ({"centroids": 2, "groups": 3}, "groups: 3 does not divide the 4 output channels"),
        ({"centroids": 2, "groups": 0}, "groups: 0 does not divide the 4 output channels"),
        ({"centroids": 2, "importance": torch.ones(2, 2)}, r"importance of shape \(2, 2\) for a weight of \(4, 2\)"),
        ({"centroids": 2, "importance": -torch.ones(4, 2)}, "importance must be finite and not negative"),
        ({"centroids": 2, "importance": torch.full((4, 2), torch.nan)}, "importance must be finite and not negative"),
    ],
    ids=["none", "too many", "groups", "no group", "another shape", "negative", "NaN"],
)
def test_arguments_that_mean_nothing_are_refused(arguments: dict[str, object], message: str):
    with pytest.raises(ValueError, match=message):
        cluster(torch.ones(4, 2), **arguments)  # type: ignore[arg-type]


@pytest.mark.parametrize("weight", [torch.tensor(1.0), torch.zeros(0, 3)], ids=["a scalar", "empty"])
def test_a_weight_without_channels_is_refused(weight: Tensor):
    with pytest.raises(ValueError, match="has nothing to cluster"):
        cluster(weight, 2)
