import math

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from tinyml.training.losses import (
    ExitLoss,
    OutputObjective,
    attention_error,
    cross_entropy,
    distillation,
    hint_error,
    reconstruction_error,
    task_objective,
)

# softmax([ln 3, 0]) = [3/4, 1/4]
LOGITS = torch.tensor([[math.log(3), 0.0]])


def test_cross_entropy_is_minus_the_logarithm_of_the_true_probability() -> None:
    assert cross_entropy(LOGITS, torch.tensor([0])).item() == pytest.approx(-math.log(3 / 4))


def test_smoothing_spreads_its_share_over_all_classes() -> None:
    expected = -0.9 * math.log(3 / 4) - 0.1 * math.log(1 / 4)
    assert cross_entropy(LOGITS, torch.tensor([0]), label_smoothing=0.2).item() == pytest.approx(expected)


def test_the_reconstruction_error_is_the_mean_over_all_elements() -> None:
    assert reconstruction_error(torch.tensor([[1.0, 2.0]]), torch.tensor([[0.0, 4.0]])).item() == 2.5


def test_a_student_that_agrees_with_its_teacher_has_no_distillation_loss() -> None:
    assert distillation(LOGITS, LOGITS, temperature=4.0).item() == pytest.approx(0.0, abs=1e-7)


def test_distillation_is_the_softened_divergence_times_the_squared_temperature() -> None:
    teacher = 2 * LOGITS  # softened by 2: [3/4, 1/4]; the student's are even
    expected = 4 * (0.75 * math.log(0.75 / 0.5) + 0.25 * math.log(0.25 / 0.5))
    assert distillation(torch.zeros(1, 2), teacher, temperature=2.0).item() == pytest.approx(expected, rel=1e-6)


def test_the_objective_of_a_reconstruction_compares_outputs_with_inputs() -> None:
    objective = task_objective("reconstruction")
    doubled = _Doubled()
    assert objective(doubled, torch.tensor([[3.0]]), torch.tensor([0])).item() == 9.0


def test_a_hint_is_the_squared_difference_as_a_share_of_the_teachers_square() -> None:
    student, teacher = torch.tensor([[1.0, 2.0]]), torch.tensor([[3.0, 4.0]])
    assert hint_error(student, teacher).item() == pytest.approx(((4 + 4) / 2) / ((9 + 16) / 2), rel=1e-6)


def test_a_teacher_whose_features_are_zero_gives_a_finite_hint() -> None:
    assert hint_error(torch.zeros(2, 3), torch.zeros(2, 3)).item() == 0.0


def test_attention_is_the_distance_of_normalised_maps_whatever_the_channels() -> None:
    generator = np.random.default_rng(0)
    student, teacher = generator.normal(size=(3, 2, 4, 5)), generator.normal(size=(3, 6, 4, 5))

    def maps(features: np.ndarray) -> np.ndarray:
        summed = (features**2).sum(axis=1).reshape(3, 20)
        return summed / np.linalg.norm(summed, axis=1, keepdims=True)

    expected = np.mean(np.sum((maps(student) - maps(teacher)) ** 2, axis=1))
    # float32 of unit vectors of 20 elements: each square within 4 x 2^-24 of its size
    assert attention_error(torch.tensor(student), torch.tensor(teacher)).item() == pytest.approx(expected, rel=1e-5)


def test_attention_does_not_see_the_size_of_the_features() -> None:
    features = torch.rand(2, 3, 4, generator=torch.Generator().manual_seed(0))
    assert attention_error(10 * features, features).item() == pytest.approx(0.0, abs=1e-12)


def test_half_precision_outputs_are_compared_in_float32() -> None:
    assert cross_entropy(LOGITS.half(), torch.tensor([0])).dtype == torch.float32


class _Doubled(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return 2 * x


FIRST, SECOND, LAST = torch.zeros(1, 2), LOGITS, 2 * LOGITS


def sums(outputs: Tensor) -> Tensor:
    return outputs.sum()


def test_the_losses_of_exits_are_added_with_their_weights() -> None:
    found = ExitLoss(weights=(1.0, 10.0, 100.0)).total((FIRST, SECOND, LAST), sums)
    assert found.item() == pytest.approx(210 * math.log(3), rel=1e-6)


def test_without_weights_every_exit_counts_one() -> None:
    found = OutputObjective(lambda outputs, _, __: outputs.sum())(_Three(), LOGITS, torch.zeros(1))
    assert found.item() == pytest.approx(3 * math.log(3), rel=1e-6)


def test_an_exit_learns_its_share_from_the_softened_last_one() -> None:
    exits = ExitLoss(weights=(2.0, 1.0), share=0.25, temperature=2.0)
    expected = 2 * (0.75 * 0 + 0.25 * distillation(FIRST, LAST, temperature=2.0)) + LAST.sum()
    assert exits.total((FIRST, LAST), sums).item() == pytest.approx(expected.item(), rel=1e-6)


def test_the_last_exit_learns_nothing_from_the_others() -> None:
    last = LAST.clone().requires_grad_()
    total = ExitLoss(share=1.0, temperature=2.0).total((FIRST, last), lambda outputs: outputs.sum() * 0)
    (gradient,) = torch.autograd.grad(total, last)
    assert gradient.abs().max().item() == 0.0


def test_a_network_without_exits_has_the_loss_alone_whatever_the_weights() -> None:
    assert ExitLoss(weights=(7.0,), share=0.5).total(LAST, sums) == LAST.sum()


class _Three(nn.Module):
    def forward(self, x: Tensor) -> tuple[Tensor, ...]:
        return 0 * x, x, 2 * x
