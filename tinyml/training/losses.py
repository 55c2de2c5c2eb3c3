"""The losses that a training minimises, and what an objective is: (module, inputs, targets) -> loss.

A user's own loss is any function of that form, handed to `train`.
"""

from collections.abc import Callable
from typing import Literal

from torch import Tensor, nn
from torch.nn import functional

Objective = Callable[[nn.Module, Tensor, Tensor], Tensor]
"""Runs the module on inputs (N, ...) with targets (N,) and returns the loss, a tensor of one number."""


def cross_entropy(outputs: Tensor, targets: Tensor, *, label_smoothing: float = 0.0) -> Tensor:
    """Return the mean cross-entropy of logits (N, classes) to class numbers (N,).

    With smoothing e the target is 1 - e + e / classes for the true class and e / classes for every other one.
    """
    return functional.cross_entropy(outputs, targets, label_smoothing=label_smoothing)


def reconstruction_error(outputs: Tensor, inputs: Tensor) -> Tensor:
    """Return the mean over all elements of the squared difference between outputs and inputs, both (N, ...)."""
    return functional.mse_loss(outputs, inputs)


def distillation(outputs: Tensor, teacher_outputs: Tensor, *, temperature: float) -> Tensor:
    """Return how far a student's logits (N, classes) are from a teacher's, softened by a temperature T > 0.

    T^2 KL(softmax(teacher / T) || softmax(student / T)), the mean over the batch. The factor T^2 keeps the size of the
    gradients when T changes. Hinton, Vinyals and Dean 2015 (arXiv:1503.02531); theirs is the cross-entropy, which
    differs from this by the teacher's entropy, a constant.
    """
    student = functional.log_softmax(outputs / temperature, dim=1)
    teacher = functional.log_softmax(teacher_outputs / temperature, dim=1)
    return temperature**2 * functional.kl_div(student, teacher, reduction="batchmean", log_target=True)


def task_objective(kind: Literal["classification", "reconstruction"], *, label_smoothing: float = 0.0) -> Objective:
    """Return the objective of a kind of task: cross-entropy, or the squared error of reconstructing the inputs."""

    def classify(module: nn.Module, inputs: Tensor, targets: Tensor) -> Tensor:
        return cross_entropy(module(inputs), targets, label_smoothing=label_smoothing)

    def reconstruct(module: nn.Module, inputs: Tensor, targets: Tensor) -> Tensor:
        return reconstruction_error(module(inputs), inputs)

    return classify if kind == "classification" else reconstruct
