"""Nearest neighbours and their vote, against brute force in float64."""

from typing import get_args

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics.pairwise import cosine_distances
from sklearn.neighbors import NearestNeighbors

from tinyml.numerics.nearest_neighbours import Metric, majority_vote, nearest_neighbours

METRICS = get_args(Metric)


def brute_force(queries: torch.Tensor, references: torch.Tensor, k: int, metric: str) -> np.ndarray:
    """Return (Q, k) from all distances in float64, equal ones in the order of the index."""
    searcher = NearestNeighbors(n_neighbors=len(references), algorithm="brute", metric=metric)
    searcher.fit(references.double().numpy())
    distances, indices = searcher.kneighbors(queries.double().numpy())
    order = np.lexsort((indices, distances.round(12)))[:, :k]
    return np.take_along_axis(indices, order, axis=1)


def points(count: int, dimensions: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(count, dimensions, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("metric", METRICS)
@pytest.mark.parametrize("chunk_bytes", [1, 20_000, 2**27])
def test_the_neighbours_are_those_of_scikit_learn_however_the_work_is_cut(metric: Metric, chunk_bytes: int) -> None:
    queries, references = points(40, 5), 3 + points(300, 5, seed=1)
    found = nearest_neighbours(queries, references, 30, metric=metric, chunk_bytes=chunk_bytes)
    np.testing.assert_array_equal(found, brute_force(queries, references, 30, metric))


@given(st.integers(1, 30), st.integers(0, 2**31), st.sampled_from([1, 2**27]))
def test_equal_distances_go_by_the_index_even_among_hundreds(k: int, seed: int, chunk_bytes: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    references = torch.randint(0, 3, (200, 2), generator=generator).float()  # nine places: all neighbours are tied
    queries = torch.randint(0, 3, (5, 2), generator=generator).float()
    found = nearest_neighbours(queries, references, k, metric="euclidean", chunk_bytes=chunk_bytes)
    np.testing.assert_array_equal(found, brute_force(queries, references, k, "euclidean"))


@pytest.mark.parametrize("metric", METRICS)
def test_of_equal_references_all_are_near_and_the_lowest_are_taken(metric: Metric) -> None:
    equal = torch.zeros(40_000, 3)  # as of a layer that is dead; hundreds of seconds if each were looked at
    own = torch.tensor([0, 2, 39_999]).repeat(100)
    found = nearest_neighbours(points(300, 3), equal, 3, metric=metric, own=own)
    assert found[:3].tolist() == [[1, 2, 3], [0, 1, 3], [0, 1, 2]]
    assert nearest_neighbours(points(2, 3), equal, 2, metric=metric).tolist() == [[0, 1], [0, 1]]


def test_points_far_from_zero_and_near_each_other_are_told_apart() -> None:
    references = 1000 + torch.linspace(0, 0.5, 200)[:, None]  # squares of 1e6 hold no 1e-6 in float32
    found = nearest_neighbours(references[50:51], references, 3, metric="euclidean")
    np.testing.assert_array_equal(found, brute_force(references[50:51], references, 3, "euclidean"))


def test_one_far_reference_does_not_blur_the_others() -> None:
    references = torch.cat([points(300, 8) * 1e-3, torch.full((1, 8), 1e4)])
    found = nearest_neighbours(references[:20], references, 5, metric="euclidean")
    np.testing.assert_array_equal(found, brute_force(references[:20], references, 5, "euclidean"))


def test_a_zero_vector_is_at_cosine_zero_from_all() -> None:
    references = torch.tensor([[0.0, 0.0], [-1.0, 0.0], [1.0, 1.0]])
    found = nearest_neighbours(torch.tensor([[1.0, 0.0]]), references, 3, metric="cosine")
    assert found.tolist() == [[2, 0, 1]]
    assert cosine_distances([[1.0, 0.0]], references.numpy()).argsort().tolist() == found.tolist()


@pytest.mark.parametrize("metric", METRICS)
def test_a_reference_is_not_its_own_neighbour(metric: Metric) -> None:
    references = points(120, 4)
    found = nearest_neighbours(references, references, 7, metric=metric, own=torch.arange(120))
    everyone = brute_force(references, references, 120, metric)
    without = [[index for index in row if index != own][:7] for own, row in enumerate(everyone)]
    assert found.tolist() == without


@pytest.mark.parametrize("k", [0, 10])
def test_more_neighbours_than_there_are_is_an_error(k: int) -> None:
    with pytest.raises(ValueError, match=f"k is {k}; there are 9 references"):
        nearest_neighbours(points(10, 2), points(10, 2), k, metric="cosine", own=torch.arange(10))


@pytest.mark.parametrize(
    ("labels", "winner"),
    [
        pytest.param([0, 1, 1], 1, id="most votes"),
        pytest.param([2, 1, 1, 2, 0], 2, id="a tie goes to the nearest of the tied"),
        pytest.param([0, 2, 1, 1, 2], 2, id="not to the nearest of all"),
    ],
)
def test_the_vote(labels: list[int], winner: int) -> None:
    assert majority_vote(torch.tensor([labels]), 3).tolist() == [winner]
