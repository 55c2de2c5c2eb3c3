"""Pooled features, by hand."""

import numpy as np
import pytest
import torch

from tinyml.analysis.difficulty.pooling import input_features, pooled


def test_tokens_are_averaged_and_channels_are_kept() -> None:
    tokens = torch.arange(12.0).view(1, 3, 4)
    assert pooled(tokens, channels_last=True, side=2).tolist() == [[4, 5, 6, 7]]
    assert pooled(tokens, channels_last=False, side=1).tolist() == [[1.5, 5.5, 9.5]]


def test_a_vector_is_taken_as_it_is_in_memory_of_its_own() -> None:
    vector = torch.ones(2, 3)
    found = pooled(vector, channels_last=False, side=1)
    vector.zero_()
    assert found.tolist() == [[1, 1, 1], [1, 1, 1]]


@pytest.mark.parametrize(("side", "expected"), [(1, [2.5]), (2, [1, 2, 3, 4]), (9, [1, 2, 3, 4])])
def test_there_are_no_more_regions_than_positions(side: int, expected: list[float]) -> None:
    image = torch.tensor([[[[1.0, 2.0], [3.0, 4.0]]]])
    assert pooled(image, channels_last=False, side=side).tolist() == [expected]


def test_pixels_stay_what_they_are() -> None:
    pixels = np.arange(2 * 32 * 32 * 3).reshape(2, 32, 32, 3).astype(np.uint8)
    np.testing.assert_array_equal(input_features(pixels), pixels.transpose(0, 3, 1, 2).reshape(2, -1))


@pytest.mark.parametrize(
    ("x", "features"),
    [
        pytest.param(np.zeros((2, 64, 48, 3), np.uint8), 3 * 32 * 32, id="a large image"),
        pytest.param(np.zeros((2, 1, 4000), np.float32), 1024, id="a long signal"),
        pytest.param(np.zeros((2, 1, 100), np.float32), 100, id="a short signal"),
        pytest.param(np.zeros((2, 4, 30, 30, 30), np.float32), 4 * 1000, id="a volume"),
        pytest.param(np.zeros((2, 77), np.float32), 77, id="a vector"),
    ],
)
def test_large_inputs_are_pooled(x: np.ndarray, features: int) -> None:
    assert input_features(x).shape == (2, features)
