"""The inputs of verification: spread evenly, as the file takes them, with the trained model's answers."""

import io
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import nn

from tinyml.data import Split, Task
from tinyml.pipeline.reference import answers, evaluation_rows, reference_of, replay_file


def split_of(length: int) -> Split:
    return Split(x=np.zeros((length, 2), np.float32), y=np.zeros(length, np.int64), source="test")


@pytest.mark.parametrize(
    ("length", "first", "last", "count"),
    [
        pytest.param(1, [0], 0, 1, id="one"),
        pytest.param(400, [0, 1, 2], 399, 400, id="fewer than a thousand: all"),
        pytest.param(1000, [0, 1, 2], 999, 1000, id="a thousand: all"),
        pytest.param(5000, [0, 5, 10], 4999, 1000, id="every fifth of 5,000"),
    ],
)
def test_rows_are_spread_evenly_over_the_split(length: int, first: list[int], last: int, count: int) -> None:
    rows = evaluation_rows(split_of(length))
    assert (rows[:3].tolist(), rows[-1], len(rows), len(set(rows))) == (first, last, count, count)
    assert np.ptp(np.diff(rows)) <= 1 if count > 1 else True


@pytest.fixture
def mean_network() -> nn.Module:
    """Answers with the sum of the pixels, in ten columns."""
    layer = nn.Linear(64, 10, bias=False)
    nn.init.ones_(layer.weight)
    return nn.Sequential(nn.Flatten(), layer)


def test_the_reference_holds_normalised_test_images_and_answers_to_them(digits: Task, mean_network) -> None:
    reference = reference_of(mean_network, digits, pixels=False, input_shape=(1, 8, 8))
    assert digits.test is not None
    np.testing.assert_array_equal(reference.inputs, digits.inputs(digits.test.x))
    np.testing.assert_allclose(reference.outputs[:, 0], reference.inputs.sum(axis=(1, 2, 3)), rtol=1e-4, atol=1e-4)
    assert (reference.real, reference.classification) == (True, True)


def test_a_file_that_takes_pixels_is_given_pixels_and_the_model_what_it_learnt_on(digits: Task, mean_network) -> None:
    plain, pixels = (
        reference_of(mean_network, digits, pixels=pixels, input_shape=(1, 8, 8)) for pixels in (False, True)
    )
    assert digits.test is not None
    np.testing.assert_array_equal(pixels.inputs, digits.test.x)
    np.testing.assert_array_equal(pixels.outputs, plain.outputs)


def test_validation_data_stands_in_where_there_is_no_test(digits: Task, mean_network) -> None:
    validated = replace(digits, test=None, fingerprint="")
    reference = reference_of(mean_network, validated, pixels=False, input_shape=(1, 8, 8))
    assert digits.validation is not None
    assert len(reference.inputs) == len(digits.validation)


def test_random_inputs_stand_in_where_there_is_no_data(mean_network) -> None:
    first, again, other = (
        reference_of(mean_network, None, pixels=False, input_shape=(1, 8, 8), seed=seed) for seed in (0, 0, 1)
    )
    assert (first.inputs.shape, first.real, first.classification) == ((100, 1, 8, 8), False, False)
    assert np.array_equal(first.inputs, again.inputs)
    assert not np.array_equal(first.inputs, other.inputs)


def test_answers_are_given_batch_by_batch_in_order() -> None:
    inputs = np.arange(120, dtype=np.float32)[:, None]
    np.testing.assert_array_equal(answers(nn.Identity(), inputs), inputs)


def test_answers_in_half_precision_are_float32() -> None:
    assert answers(nn.Linear(2, 2).half(), np.ones((1, 2), np.float16)).dtype == np.float32


def test_the_replay_file_holds_the_first_sixteen(digits: Task, mean_network) -> None:
    reference = reference_of(mean_network, digits, pixels=False, input_shape=(1, 8, 8))
    with np.load(io.BytesIO(replay_file(reference)), allow_pickle=False) as stored:
        assert set(stored.files) == {"input", "output"}
        np.testing.assert_array_equal(stored["input"], reference.inputs[:16])
        np.testing.assert_array_equal(stored["output"], reference.outputs[:16])


@pytest.mark.parametrize("data", [pytest.param(True, id="digits"), pytest.param(False, id="random")])
def test_fewer_inputs_are_the_first_of_all(digits: Task, mean_network, data: bool) -> None:
    task = digits if data else None
    whole, few = (
        reference_of(mean_network, task, pixels=False, input_shape=(1, 8, 8), most=most) for most in (None, 16)
    )
    np.testing.assert_array_equal(few.inputs, whole.inputs[:16])
    assert few.outputs.shape == (16, 10)


def test_no_gradient_is_kept(mean_network) -> None:
    assert torch.is_grad_enabled()
    answers(mean_network, np.ones((1, 64), np.float32))
    assert mean_network[1].weight.grad is None
