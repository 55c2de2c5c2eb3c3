import copy
import math
from dataclasses import replace

import numpy as np
import pytest
import torch
import user_models
from torch import Tensor, nn

from tinyml.data import Task
from tinyml.errors import ModelError, UsageError
from tinyml.training import (
    DivergenceError,
    ExitLoss,
    Objective,
    OutputObjective,
    TrainingSettings,
    check_teacher,
    digest,
    distilled,
    task_objective,
    train,
)
from tinyml.training.evaluation import is_channels_last

HARD = task_objective("classification")
X = torch.rand(8, 1, 4, 4, generator=torch.Generator().manual_seed(0))
Y = torch.arange(8) % 2


class Network(nn.Module):
    """A convolution, BatchNorm and dropout; `idle` is never called."""

    def __init__(self, channels: int, classes: int) -> None:
        super().__init__()
        self.features = nn.Sequential(nn.Conv2d(1, channels, 3, padding=1), nn.BatchNorm2d(channels), nn.ReLU())
        self.head = nn.Sequential(nn.Flatten(), nn.Dropout(0.5), nn.Linear(16 * channels, classes))
        self.idle = nn.ReLU()

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.features(x))


def network(channels: int = 4, seed: int = 0, classes: int = 2) -> Network:
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return Network(channels, classes).eval()


def loss_of(student: nn.Module, teacher: nn.Module, **more: object) -> float:
    chosen = {"hard": HARD, "kind": "classification", "temperature": 2.0, "weight": 0.25, **more}
    with distilled(student, teacher, **chosen) as objective:  # type: ignore[arg-type]  # handed through
        return objective(student, X, Y).item()


def probabilities(logits: Tensor, temperature: float) -> np.ndarray:
    raised = np.exp(logits.detach().double().numpy() / temperature)
    return raised / raised.sum(axis=1, keepdims=True)


def test_the_loss_is_the_weighted_sum_of_labels_and_teacher() -> None:
    student, teacher = network(), network(6, seed=1)
    s, t = student(X), teacher(X)
    hard = -np.log(probabilities(s, 1.0)[np.arange(8), Y.numpy()]).mean()
    soft = 4 * (probabilities(t, 2.0) * np.log(probabilities(t, 2.0) / probabilities(s, 2.0))).sum(axis=1).mean()
    assert loss_of(student, teacher) == pytest.approx(0.75 * hard + 0.25 * soft, rel=1e-5)


def test_a_reconstruction_is_compared_with_the_teachers() -> None:
    student, teacher = nn.Conv2d(1, 1, 1), nn.Conv2d(1, 1, 1)
    s, t, x = (each.detach().double().numpy() for each in (student(X), teacher(X), X))
    expected = 0.75 * np.mean((s - x) ** 2) + 0.25 * np.mean((s - t) ** 2)
    found = loss_of(student, teacher, hard=task_objective("reconstruction"), kind="reconstruction")
    assert found == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize("factory", ["mixed", "mobilenetv3_like", "small_vit", "inception_like"])
def test_a_copy_of_the_student_has_nothing_to_teach(factory: str) -> None:
    student = getattr(user_models, factory)().eval()
    images, labels = torch.rand(2, 3, 32, 32), torch.tensor([0, 1])
    with _two(student, copy.deepcopy(student), weight=0.5, hints=["*"]) as objective:
        assert objective(student, images, labels).item() == 0.5 * HARD(student, images, labels).item()


def test_hints_add_the_mean_of_their_errors() -> None:
    student, teacher = network(), network(seed=1)
    s, t = (each.features(X).detach().double().numpy() for each in (student, teacher))
    u, v = (each.features[0](X).detach().double().numpy() for each in (student, teacher))
    hints = (np.mean((s - t) ** 2) / np.mean(t**2) + np.mean((u - v) ** 2) / np.mean(v**2)) / 2
    added = loss_of(student, teacher, hints=["features", "features.0"], hint_weight=3.0) - loss_of(student, teacher)
    assert added == pytest.approx(3 * hints, rel=1e-4)


def test_a_hint_of_other_channels_compares_attention() -> None:
    student = network()
    wider = copy.deepcopy(student)
    wider.features = nn.Sequential(*student.features, _Repeat())  # the same map from twice the channels
    wider.head[2] = nn.Linear(128, 2)
    with_hint = loss_of(student, wider, hints=["features"], hint_weight=100.0)
    assert with_hint == pytest.approx(loss_of(student, wider), abs=1e-4)


class _Repeat(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x.repeat(1, 2, 1, 1)


def test_the_student_runs_once_a_step_inside_the_module_that_is_given() -> None:
    student, calls = network(), []
    student.register_forward_hook(lambda *_: calls.append(1))
    with _two(student, network(seed=1), hints=["features"]) as objective:
        objective(nn.Sequential(student), X, Y)
    assert len(calls) == 1


def _two(student: nn.Module, teacher: nn.Module, **more: object):  # type: ignore[no-untyped-def]  # a context
    chosen = {"hard": HARD, "kind": "classification", "temperature": 4.0, "weight": 0.9, **more}
    return distilled(student, teacher, **chosen)  # type: ignore[arg-type]  # handed through


def test_a_teacher_in_training_mode_is_asked_in_evaluation_mode_and_stays_as_it_was() -> None:
    student, teacher = network(), network(seed=1).train()
    before = digest(teacher)
    with _two(student, teacher, hints=["features"]) as objective:
        first, second = (objective(student, X, Y) for _ in range(2))
        first.backward()  # type: ignore[no-untyped-call]  # torch leaves it without types
    assert first.item() == second.item()
    assert all(part.training for part in teacher.modules())
    assert digest(teacher) == before
    assert all(parameter.grad is None for parameter in teacher.parameters())


def test_the_teacher_stands_beside_the_student_only_in_the_context() -> None:
    student, teacher = (nn.Sequential(nn.Conv2d(1, 4, 3), nn.Conv2d(4, 2, 2), nn.Flatten()) for _ in range(2))
    student.to(memory_format=torch.channels_last)  # type: ignore[call-overload]  # torch's types lack this form
    with _two(student, teacher) as objective:
        objective(student, X, Y)
        assert is_channels_last(teacher)
    assert not is_channels_last(teacher)


def test_no_hook_is_left() -> None:
    student, teacher = network(), network(seed=1)
    loss_of(student, teacher, hints=["features*"])
    assert not any(part._forward_hooks for each in (student, teacher) for part in each.modules())


def test_a_student_of_a_teacher_is_trained_to_the_same_bytes_again(task: Task, settings: TrainingSettings) -> None:
    def trained() -> str:
        student = network()
        with _two(student, network(6, seed=1).train(), hints=["features"]) as objective:
            train(student, task, settings, objective=objective)
        return digest(student)

    assert trained() == trained()


@pytest.mark.parametrize("precision", ["bfloat16", "float16"])
def test_a_student_learns_in_half_precision(task: Task, settings: TrainingSettings, precision: str) -> None:
    teacher, student = network(seed=1), network()
    train(teacher, task, replace(settings, epochs=6))
    with _two(student, teacher, weight=1.0, hints=["features"]) as objective:
        result = train(student, task, replace(settings, epochs=6, precision=precision), objective=objective)
    assert result.best.validation_score == 1.0


def test_a_teacher_that_is_not_finite_is_a_divergence(task: Task, settings: TrainingSettings) -> None:
    student, teacher = network(), network(seed=1)
    nn.init.constant_(teacher.head[2].bias, math.nan)
    before = digest(student)
    with _two(student, teacher) as objective, pytest.raises(DivergenceError, match="the loss is nan"):
        train(student, task, settings, objective=objective)
    assert digest(student) == before


class Pair(nn.Module):
    """Its features are a tuple."""

    def __init__(self) -> None:
        super().__init__()
        self.features, self.head = _Halves(), nn.Linear(16, 2)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(torch.cat(self.features(x.flatten(1)), dim=1))


class _Halves(nn.Module):
    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        return x[:, :8], x[:, 8:]


@pytest.mark.parametrize(
    ("teacher", "hint", "message"),
    [
        pytest.param(network(), "feature", "matches no module that the student calls. Did you mean 'features'", id="name"),
        pytest.param(network(), "idle", "'idle' matches no module that the student calls", id="not called"),
        pytest.param(Pair(), "features.0", "'features.0': the teacher calls no module of that name", id="only one has it"),
        pytest.param(network(6), "head.0", r"gives \(N, 64\) and the teacher \(N, 96\); allowed: the same", id="vectors"),
        pytest.param(Pair(), "features", r"gives \(N, 4, 4, 4\) and the teacher a tuple; allowed", id="no tensor"),
    ],
)  # fmt: skip
def test_a_hint_that_compares_nothing_is_refused(task: Task, teacher: nn.Module, hint: str, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        check_teacher(network(), teacher, task, [hint])
    with pytest.raises(UsageError, match=message):
        loss_of(network(), teacher, hints=[hint])


@pytest.mark.parametrize(
    ("teacher", "message"),
    [
        pytest.param(network(classes=7), r"teacher's outputs have shape \(N, 7\) and the student's \(N, 2\)", id="classes"),
        pytest.param(nn.Linear(5, 2), r"the teacher does not take the inputs \(1, 4, 4\)", id="inputs"),
        pytest.param(_Halves(), "the teacher gives a tuple for the inputs", id="no tensor"),
    ],
)  # fmt: skip
def test_a_teacher_that_does_not_fit_is_refused(task: Task, teacher: nn.Module, message: str) -> None:
    with pytest.raises(ModelError, match=message):
        check_teacher(network(), teacher, task)


def test_a_teacher_that_fits_passes_whatever_its_mode(task: Task) -> None:
    teacher = network(6).train()
    before = digest(teacher)
    check_teacher(network(), teacher, task, ["features*"])
    assert (teacher.training, digest(teacher)) == (True, before)


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        pytest.param({"temperature": 0.0}, "temperature is 0.0, a number above 0", id="temperature"),
        pytest.param({"weight": 1.5}, "weight is 1.5, a share", id="weight"),
        pytest.param({"hint_weight": math.nan}, "hint_weight is nan, 0 or more", id="hint weight"),
    ],
)
def test_a_number_outside_its_range_is_refused(wrong: dict[str, float], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        loss_of(network(), network(seed=1), **wrong)


def test_a_network_cannot_teach_itself() -> None:
    student = network()
    with pytest.raises(UsageError, match="its own teacher"):
        loss_of(student, student)


def test_a_users_loss_of_the_outputs_can_be_joined() -> None:
    student, teacher = network(), network(seed=1)
    zero: Objective = OutputObjective(lambda outputs, _, __: outputs.sum() * 0)
    assert loss_of(student, teacher, hard=zero, weight=0.0) == 0.0


class Exits(nn.Module):
    """Two networks, the first an exit of the second."""

    def __init__(self) -> None:
        super().__init__()
        self.early, self.late = network(seed=3), network(seed=4)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        return self.early(x), self.late(x)


def test_every_exit_learns_from_the_teacher_and_none_from_the_last() -> None:
    student, teacher = Exits().eval(), network(6, seed=1)
    hard = OutputObjective(HARD.loss, ExitLoss(weights=(3.0, 1.0), share=0.5, temperature=9.0))
    expected = 3 * loss_of(student.early, teacher) + loss_of(student.late, teacher)
    assert loss_of(student, teacher, hard=hard) == pytest.approx(expected, rel=1e-5)


def test_a_teacher_is_compared_with_the_students_last_exit(task: Task) -> None:
    check_teacher(Exits(), network(), task)
    with pytest.raises(ModelError, match="choose one without exits"):
        check_teacher(network(), Exits(), task)
