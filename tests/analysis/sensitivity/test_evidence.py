"""What batches tell makes the score of the whole."""

import numpy as np
import pytest
import torch
from random_task import random_task

from tinyml.analysis.sensitivity.evidence import LARGEST, Evidence, divergence_of, evidence_of, score_of
from tinyml.data import Split, Task
from tinyml.training.evaluation import NonFiniteError

OUTPUTS = torch.tensor([[0.1, 0.9], [0.8, 0.2], [torch.nan, 1.0]])


def reconstruction() -> Task:
    x = np.array([[0.0], [0.0], [3.0], [5.0]], dtype=np.float32)
    split = Split(x=x, y=np.array([0, 0, 1, 1]), source="numbers")
    return Task(name="numbers", kind="reconstruction", input_shape=(1,), classes=("good", "bad"), validation=split)


def test_right_answers_are_counted_and_nan_is_wrong() -> None:
    task = random_task((4,))
    inputs = np.zeros((3, 4), dtype=np.float32)
    assert evidence_of(task, OUTPUTS, np.array([1, 1, 1]), inputs, OUTPUTS).told == (1,)


def told(*values: float) -> Evidence:
    return Evidence(told=values, divergence=0.0)


def test_counts_of_batches_make_an_accuracy() -> None:
    assert score_of(random_task((4,)), [told(3), told(1)], np.zeros(5)) == 0.8


def test_errors_of_batches_make_an_auc() -> None:
    task = reconstruction()
    assert task.validation is not None
    x, y, zeros = task.validation.x, task.validation.y, torch.zeros(2, 1)
    parts = [evidence_of(task, zeros, y[rows], x[rows], zeros) for rows in (slice(0, 2), slice(2, 4))]
    assert parts == [told(0, 0), told(9, 25)]
    assert score_of(task, parts, y) == 1


def test_a_reconstruction_that_is_not_finite_is_an_error() -> None:
    task, outputs = reconstruction(), torch.tensor([[torch.nan], [0.0]])
    with pytest.raises(NonFiniteError, match="1 reconstructions are NaN"):
        evidence_of(task, outputs, np.zeros(2), np.zeros((2, 1)), outputs)


def test_the_divergence_of_two_classifications_is_the_relative_entropy_of_their_shares() -> None:
    reference = torch.tensor([[0.0, 0.0], [0.0, float(np.log(3))]])  # shares 1/2, 1/2 and 1/4, 3/4
    changed = torch.tensor([[0.0, float(np.log(3))], [5.0, 5.0]])
    first = 0.5 * np.log(0.5 / 0.25) + 0.5 * np.log(0.5 / 0.75)
    second = 0.25 * np.log(0.25 / 0.5) + 0.75 * np.log(0.75 / 0.5)
    part = evidence_of(random_task((4,)), changed, np.zeros(2), np.zeros((2, 4)), reference)
    assert part.divergence == pytest.approx(first + second, rel=1e-6)
    assert divergence_of([part, part], 4) == pytest.approx((first + second) / 2, rel=1e-6)


def test_outputs_that_are_not_finite_are_as_far_as_any_can_be() -> None:
    part = evidence_of(random_task((4,)), OUTPUTS, np.zeros(3), np.zeros((3, 4)), OUTPUTS.nan_to_num(nan=0.0))
    assert part.divergence == LARGEST


def test_the_divergence_of_two_reconstructions_is_their_mean_squared_difference() -> None:
    outputs, reference = torch.tensor([[1.0], [5.0]]), torch.tensor([[0.0], [3.0]])
    assert evidence_of(reconstruction(), outputs, np.zeros(2), np.zeros((2, 1)), reference).divergence == 1 + 4
