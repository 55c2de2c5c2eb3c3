from fractions import Fraction

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from tinyml.numerics.nearest_centroid import TABLE_BINS, decode, nearest

numbers = st.floats(-(2.0**100), 2.0**100, width=32)


def normal(*shape: int) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(0))


@given(weight=numbers, codebook=st.lists(numbers, min_size=1, max_size=20))
def test_a_label_names_the_least_distance(weight: float, codebook: list[float]):
    centroids = torch.tensor(codebook).unique()
    (label,) = nearest(torch.tensor([weight]), centroids[None]).tolist()
    distances = [abs(Fraction(weight) - Fraction(centroid)) for centroid in centroids.tolist()]
    # Midpoints are float64: one of numbers that differ by more than 2^29 times is rounded.
    assert distances[label] <= min(distances) * (1 + Fraction(1, 2**50))


def in_small_parts(weight: Tensor, codebook: Tensor) -> Tensor:
    """The labels without a table, which only large groups have."""
    return torch.cat([nearest(part, codebook[None]) for part in weight.split(TABLE_BINS // 8)])


def test_ties_go_to_the_lower_centroid():
    assert nearest(torch.tensor([-0.5, 0.5, 1.5]), torch.tensor([[-1.0, 0.0, 1.0, 2.0]])).tolist() == [0, 1, 2]


def test_repeats_of_the_last_centroid_are_never_chosen():
    assert nearest(torch.tensor([-5.0, 1.0, 5.0]), torch.tensor([[0.0, 2.0, 2.0, 2.0]])).tolist() == [0, 0, 1]


@pytest.mark.parametrize(
    "codebook",
    [
        torch.linspace(-2.0, 2.0, 16),
        torch.linspace(-4.0, 4.0, 256),
        torch.tensor([0.25]),
        torch.tensor([0.0, 1.0]),
        torch.tensor([-1.0, 0.5, 0.5, 0.5]),
        torch.tensor([0.5, 0.5]),
        torch.tensor([-1.0, 0.0, 1e-30, 1e30]),
        torch.tensor([-3e38, -1.0, 1.0, 3e38]),
    ],
    ids=["16", "256", "one", "two", "repeats", "only repeats", "uneven", "the whole range"],
)
def test_the_table_of_large_groups_gives_the_labels_of_the_distances(codebook: Tensor):
    weight = torch.cat([normal(TABLE_BINS), codebook, codebook[:-1] / 2 + codebook[1:] / 2])
    assert torch.equal(nearest(weight, codebook[None]), in_small_parts(weight, codebook))


def test_each_group_has_its_own_codebook():
    codebook = torch.tensor([[0.0, 1.0], [10.0, 20.0]])
    labels = nearest(torch.tensor([[0.0, 1.0], [1.0, 0.0], [20.0, 10.0], [10.0, 10.0]]), codebook)
    assert labels.tolist() == [[0, 1], [1, 0], [1, 0], [0, 0]]
    assert decode(labels, codebook).tolist() == [[0.0, 1.0], [1.0, 0.0], [20.0, 10.0], [10.0, 10.0]]


def test_large_groups_have_their_own_tables():
    weight, codebook = normal(2, TABLE_BINS), torch.tensor([[-1.0, 1.0], [-3.0, 0.5]])
    expected = torch.stack([in_small_parts(row, centroids) for row, centroids in zip(weight, codebook, strict=True)])
    assert torch.equal(nearest(weight, codebook), expected)


def test_a_centroid_receives_the_gradients_of_its_members():
    codebook = torch.tensor([[0.0, 1.0], [2.0, 3.0]], requires_grad=True)
    labels = torch.tensor([[0, 1, 1], [0, 0, 0]], dtype=torch.uint8)
    decode(labels, codebook).backward(torch.tensor([[1.0, 2.0, 4.0], [1.0, 1.0, 1.0]]))
    assert codebook.grad is not None
    assert codebook.grad.tolist() == [[1.0, 6.0], [3.0, 0.0]]
