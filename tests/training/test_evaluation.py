from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from tinyml.data import Task
from tinyml.errors import DataError, ModelError
from tinyml.training import evaluate
from tinyml.training.evaluation import NonFiniteError, check_fit


class _Brightness(nn.Module):
    """Says 1 where the mean input is above a limit."""

    def __init__(self, limit: float) -> None:
        super().__init__()
        self.limit = limit

    def forward(self, x: Tensor) -> Tensor:
        mean = x.flatten(1).mean(dim=1)
        return torch.stack([torch.full_like(mean, self.limit), mean], dim=1)


@pytest.mark.parametrize(
    ("limit", "expected"),
    [
        pytest.param(0.0, 1.0, id="the right rule"),
        pytest.param(100.0, 0.5, id="always class 0: half of the images"),
    ],
)
def test_the_score_is_the_share_of_right_answers(task: Task, limit: float, expected: float) -> None:
    found = evaluate(_Brightness(limit), task, task.test, batch_size=5)
    assert (found.score, found.n) == (expected, 32)


def test_every_submodule_keeps_its_mode(task: Task, module: nn.Module) -> None:
    module.train()
    module[1].eval()
    evaluate(module, task, task.test)
    assert (module.training, module[1].training, module[4].training) == (True, False, True)


def test_outputs_that_are_not_finite_are_counted(task: Task) -> None:
    with pytest.raises(NonFiniteError, match="outputs for 32 of 32 examples are NaN"):
        evaluate(_Brightness(np.nan), task, task.test)


def test_an_empty_split_is_refused(task: Task) -> None:
    empty = replace(task.test, x=task.test.x[:0], y=task.test.y[:0])
    with pytest.raises(DataError, match="empty"):
        evaluate(_Brightness(0.0), task, empty)


def test_a_model_with_other_classes_is_refused_with_the_cure(task: Task) -> None:
    with pytest.raises(ModelError, match=r"10 outputs and task 'dark-or-bright' has 2 classes"):
        check_fit(nn.Sequential(nn.Flatten(), nn.Linear(16, 10)), task)


def test_a_model_for_other_inputs_is_refused_with_the_shape(task: Task) -> None:
    with pytest.raises(ModelError, match=r"does not take the inputs \(1, 4, 4\) of 'dark-or-bright'"):
        check_fit(nn.Conv2d(3, 2, 3), task)


def test_a_model_that_gives_no_logits_is_refused(task: Task) -> None:
    with pytest.raises(ModelError, match=r"shape \(N, 1, 4, 4\)"):
        check_fit(nn.ReLU(), task)


class _Exits(nn.Module):
    """Exits with the rules of several limits."""

    def __init__(self, *limits: float) -> None:
        super().__init__()
        self.exits = nn.ModuleList(_Brightness(limit) for limit in limits)

    def forward(self, x: Tensor) -> tuple[Tensor, ...]:
        return tuple(each(x) for each in self.exits)


def test_the_score_of_a_network_with_exits_is_the_mean_over_them(task: Task) -> None:
    found = evaluate(_Exits(0.0, 100.0, 100.0), task, task.test, batch_size=5)
    assert found.by_exit == (1.0, 0.5, 0.5)
    assert found.score == pytest.approx(2 / 3)


def test_a_network_without_exits_has_one_score(task: Task) -> None:
    found = evaluate(_Brightness(0.0), task, task.test)
    assert found.by_exit == (found.score,)


def test_an_exit_that_is_not_finite_is_counted(task: Task) -> None:
    with pytest.raises(NonFiniteError, match="32 of 32 examples"):
        evaluate(_Exits(np.nan, 0.0), task, task.test)


def test_every_exit_must_give_the_tasks_classes(task: Task) -> None:
    check_fit(_Exits(0.0, 0.0), task)
    with pytest.raises(ModelError, match="the model gives a tuple"):
        check_fit(_Exits(0.0), task)
    other = _Exits(0.0, 0.0)
    other.exits[0] = nn.Sequential(nn.Flatten(), nn.Linear(16, 3))
    with pytest.raises(ModelError, match="The model has 3 outputs"):
        check_fit(other, task)


def test_a_reconstruction_has_no_exits(task: Task) -> None:
    with pytest.raises(ModelError, match="the model gives a tuple for the inputs of 'dark-or-bright', not a tensor"):
        check_fit(_Exits(0.0, 0.0), replace(task, kind="reconstruction", train=None, classes=("normal", "odd")))
