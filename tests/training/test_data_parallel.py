"""Two processes on this machine's CPU; what each does is in two_processes.py."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from two_processes import SETTINGS, digits, network

from tinyml.training import train

Outcome = Callable[[str], list[Any]]


@pytest.mark.parametrize("norm", [pytest.param(True, id="BatchNorm"), pytest.param(False, id="no BatchNorm")])
def test_two_processes_train_as_one_with_the_whole_batch(outcome: Outcome, norm: bool) -> None:
    first, second = outcome("with_batchnorm" if norm else "without_batchnorm")
    alone = train(network(norm=norm), digits(), replace(SETTINGS, batch_size=2 * SETTINGS.batch_size))
    assert first == second
    for (loss, score), record in zip(first["history"], alone.history, strict=True):
        assert loss == pytest.approx(record.loss, abs=1e-4)
        assert score == pytest.approx(record.validation_score, abs=2 / 300)  # two images on the border between classes


def test_two_processes_train_in_16_bits_as_one_does(outcome: Outcome) -> None:
    first, second = outcome("in_bfloat16")
    settings = replace(SETTINGS, batch_size=2 * SETTINGS.batch_size, precision="bfloat16")
    alone = train(network(norm=True), digits(), settings)
    assert first == second
    for (loss, _), record in zip(first["history"], alone.history, strict=True):
        assert loss == pytest.approx(record.loss, abs=2.0**-7)  # half of bfloat16's step at a loss of 2


def test_whatever_a_network_holds_both_end_with_the_same_weights(outcome: Outcome) -> None:
    first, second = outcome("everything")
    assert first == second


def test_an_interrupted_training_ends_in_the_same_bytes_and_only_the_first_keeps_its_state(outcome: Outcome) -> None:
    first, second = outcome("resumed")
    assert (first.pop("kept"), second.pop("kept")) == (True, False)
    assert first == second
    assert first["same"]


def test_a_loss_that_is_not_finite_in_one_ends_both_at_the_same_step(outcome: Outcome) -> None:
    first, second = outcome("diverging")
    assert first == second
    assert "epoch 1, step 4: the loss is nan" in first
