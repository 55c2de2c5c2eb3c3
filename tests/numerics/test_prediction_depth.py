"""Prediction depth, by its definition."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from tinyml.numerics.prediction_depth import prediction_depths


@pytest.mark.parametrize(
    ("probes", "depth"),
    [
        pytest.param([1, 1, 1], 0, id="the input tells"),
        pytest.param([0, 1, 1], 1, id="from the second on"),
        pytest.param([1, 0, 1], 2, id="a probe that agreed before another disagreed does not count"),
        pytest.param([1, 1, 0], 3, id="even the last disagrees"),
    ],
)
def test_the_depth_of_one_example(probes: list[int], depth: int) -> None:
    assert prediction_depths(torch.tensor(probes)[:, None], torch.tensor([1])).tolist() == [depth]


@given(st.lists(st.lists(st.integers(0, 2), min_size=4, max_size=4), min_size=1, max_size=6), st.integers(0, 2))
def test_from_the_depth_on_all_agree_and_the_one_before_does_not(rows: list[list[int]], answer: int) -> None:
    probes = torch.tensor(rows)
    for example, depth in enumerate(prediction_depths(probes, torch.full((4,), answer)).tolist()):
        assert all(probes[depth:, example] == answer)
        assert depth == 0 or probes[depth - 1, example] != answer
