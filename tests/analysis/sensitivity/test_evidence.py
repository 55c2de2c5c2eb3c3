"""What batches tell makes the score of the whole."""

import numpy as np
import pytest
import torch
from random_task import random_task

from tinyml.analysis.sensitivity.evidence import evidence_of, score_of
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
    assert evidence_of(task, OUTPUTS, np.array([1, 1, 1]), inputs) == [1]


def test_counts_of_batches_make_an_accuracy() -> None:
    assert score_of(random_task((4,)), [[3], [1]], np.zeros(5)) == 0.8


def test_errors_of_batches_make_an_auc() -> None:
    task = reconstruction()
    assert task.validation is not None
    x, y = task.validation.x, task.validation.y
    parts = [evidence_of(task, torch.zeros(2, 1), y[rows], x[rows]) for rows in (slice(0, 2), slice(2, 4))]
    assert parts == [[0, 0], [9, 25]]
    assert score_of(task, parts, y) == 1


def test_a_reconstruction_that_is_not_finite_is_an_error() -> None:
    task = reconstruction()
    with pytest.raises(NonFiniteError, match="1 reconstructions are NaN"):
        evidence_of(task, torch.tensor([[torch.nan], [0.0]]), np.zeros(2), np.zeros((2, 1)))
