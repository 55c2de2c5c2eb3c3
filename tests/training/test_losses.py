import math

import pytest
import torch
from torch import Tensor, nn

from tinyml.training.losses import cross_entropy, distillation, reconstruction_error, task_objective

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


class _Doubled(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return 2 * x
