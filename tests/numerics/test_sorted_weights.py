import math

import numpy as np
import pytest
import torch
from torch import Tensor

from tinyml.numerics.sorted_weights import BINS, SortedWeights, distinct_values, quantile_edges


def normal(*shape: int) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(0))


def test_prefix_sums_give_the_mean_of_any_run():
    ordered = SortedWeights.of(torch.tensor([[5.0, 1.0, 2.0, 8.0]]), None)
    assert ordered.values.tolist() == [[1.0, 2.0, 5.0, 8.0]]
    moment, mass = ordered.moment[0], ordered.mass[0]
    assert float(ordered.centre + (moment[3] - moment[1]) / (mass[3] - mass[1])) == 3.5


def test_masses_follow_their_weights():
    ordered = SortedWeights.of(torch.tensor([[2.0, 1.0]]), torch.tensor([[10.0, 3.0]]))
    assert ordered.mass.tolist() == [[0.0, 3.0, 13.0]]


@pytest.mark.parametrize("masses", [None, torch.ones(1, 3 * BINS)], ids=["plain", "with masses"])
def test_bins_hold_all_mass_and_moment_in_ascending_order(masses: Tensor | None):
    weight = normal(1, 3 * BINS)
    ordered = SortedWeights.of(weight, masses)
    assert ordered.values.shape[1] <= BINS
    assert bool((ordered.values.diff() >= 0).all())
    assert float(ordered.mass[0, -1]) == weight.numel()
    total = float(ordered.moment[0, -1] + ordered.centre * weight.numel())
    assert total == pytest.approx(math.fsum(weight.flatten().tolist()), rel=1e-9)


def test_the_extremes_of_many_weights_are_bins_of_their_own():
    weight = normal(1, 3 * BINS)
    ordered = SortedWeights.of(weight, None)
    ends = np.sort(weight.numpy())[0, [0, 1, -2, -1]]
    assert ordered.values[0, [0, 1, -2, -1]].tolist() == ends.tolist()


@pytest.mark.parametrize("count", [1, 2, 99, 100, 101, 5000], ids=str)
def test_quantile_edges_part_all_members_and_leave_no_bin_empty(count: int):
    edges = quantile_edges(count, 100)
    assert (int(edges[0]), int(edges[-1])) == (0, count)
    assert int(edges.diff().min()) >= 1
    assert edges.numel() - 1 <= 100
    assert count > 100 or edges.tolist() == list(range(count + 1))


def test_the_widest_bin_holds_half_pi_of_the_average():
    assert int(quantile_edges(1_000_000, 1000).diff().max()) == pytest.approx(1000 * math.pi / 2, rel=1e-3)


def test_distinct_values_are_padded_with_the_last():
    values, number = distinct_values(torch.tensor([[1.0, 1.0, 2.0], [3.0, 3.0, 3.0]]), 3)
    assert values.tolist() == [[1.0, 2.0, 2.0], [3.0, 3.0, 3.0]]
    assert number.tolist() == [2, 1]


def test_few_distinct_values_are_counted_exactly():
    rows = torch.tensor([[1.0, 1.0, 2.0], [1.0, 2.0, 3.0], [0.0, 1.0, 0.0]])
    assert SortedWeights.of(rows, None).few_distinct(2).tolist() == [True, False, True]


@pytest.mark.parametrize("distinct", [16, 17], ids=str)
def test_few_distinct_values_are_found_among_many_weights_too(distinct: int):
    rows = (torch.arange(3 * BINS) % distinct).float()[None]
    assert SortedWeights.of(rows, None).few_distinct(16).tolist() == [distinct == 16]


def test_a_run_in_a_gap_is_vacant_though_a_bin_lies_across_it():
    rows = torch.cat([torch.zeros(2 * BINS - 5), torch.ones(BINS)])[None]
    ordered, limits = SortedWeights.of(rows, None), torch.tensor([[0.001, 0.999]])
    assert ordered.edges(limits).diff().min() == 1
    assert ordered.vacant(limits).tolist() == [[False, True, False]]
