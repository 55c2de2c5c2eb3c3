"""The losses that a training minimises, and what an objective is: (module, inputs, targets) -> loss.

A user's own loss is any function of that form, handed to `train`. One that looks at nothing but the module's outputs is
better written as a `Loss`, for `OutputObjective(loss)` can be joined with a teacher's.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Literal

from torch import Tensor, nn
from torch.nn import functional

from tinyml.graph.network_outputs import Outputs, outputs_of

Objective = Callable[[nn.Module, Tensor, Tensor], Tensor]
"""Runs the module on inputs (N, ...) with targets (N,) and returns the loss, a tensor of one number."""

Loss = Callable[[Tensor, Tensor, Tensor], Tensor]
"""Takes a module's outputs for inputs (N, ...) with targets (N,), in that order, and returns a tensor of one number."""

EPSILON = 1e-6
"""Added to the mean square of a teacher's features, which may all be zero."""


@dataclass(frozen=True, kw_only=True)
class ExitLoss:
    """How the losses of a network's exits become one; of a network without exits the loss is what it is.

        total = sum over exits of weight (1 - share) loss + weight share T^2 KL(last || exit)

    The last exit, the network's own output, has no term of the second kind, and learns nothing from it: no gradient
    goes that way. After Phuong and Lampert 2019 (Distillation-based training for multi-exit architectures).

    Attributes:
        weights: one for each exit, the last the network's own output; () for 1 each.
        share: of the loss of an exit (0-1) that it learns from the last one.
        temperature: T, above 0.
    """

    weights: tuple[float, ...] = ()
    share: float = 0.0
    temperature: float = 1.0

    def total(self, given: Outputs, loss: Callable[[Tensor], Tensor], *, share: float | None = None) -> Tensor:
        """Return the loss of a network that gave these outputs.

        Args:
            given: by the network, for a batch.
            loss: of the outputs of one exit.
            share: in place of the one above, where another network teaches.
        """
        outputs = outputs_of(given)
        if len(outputs) == 1:
            return loss(outputs[0])
        weights, share = self.weights or (1.0,) * len(outputs), self.share if share is None else share
        total, last = weights[-1] * loss(outputs[-1]), outputs[-1].detach()
        for weight, early in zip(weights, outputs[:-1], strict=False):
            total = total + weight * (1 - share) * loss(early)
            if share:
                total = total + weight * share * distillation(early, last, temperature=self.temperature)
        return total


@dataclass(frozen=True)
class OutputObjective:
    """The objective that runs the module once and takes a loss of its outputs, at each of its exits."""

    loss: Loss
    exits: ExitLoss = field(default_factory=ExitLoss)

    def __call__(self, module: nn.Module, inputs: Tensor, targets: Tensor) -> Tensor:
        """Return the loss; see `Objective`."""
        return self.exits.total(module(inputs), lambda outputs: self.loss(outputs, inputs, targets))


def cross_entropy(outputs: Tensor, targets: Tensor, *, label_smoothing: float = 0.0) -> Tensor:
    """Return the mean cross-entropy of logits (N, classes) to class numbers (N,).

    With smoothing e the target is 1 - e + e / classes for the true class and e / classes for every other one.
    """
    return functional.cross_entropy(outputs.float(), targets, label_smoothing=label_smoothing)


def reconstruction_error(outputs: Tensor, inputs: Tensor) -> Tensor:
    """Return the mean over all elements of the squared difference between outputs and inputs, both (N, ...)."""
    return functional.mse_loss(outputs.float(), inputs.float())


def distillation(outputs: Tensor, teacher_outputs: Tensor, *, temperature: float) -> Tensor:
    """Return how far a student's logits (N, classes) are from a teacher's, softened by a temperature T > 0.

    T^2 KL(softmax(teacher / T) || softmax(student / T)), the mean over the batch. The factor T^2 keeps the size of the
    gradients when T changes. Hinton, Vinyals and Dean 2015 (arXiv:1503.02531); theirs is the cross-entropy, which
    differs from this by the teacher's entropy, a constant.
    """
    student = functional.log_softmax(outputs.float() / temperature, dim=1)
    teacher = functional.log_softmax(teacher_outputs.float() / temperature, dim=1)
    return temperature**2 * functional.kl_div(student, teacher, reduction="batchmean", log_target=True)


def hint_error(features: Tensor, teacher_features: Tensor) -> Tensor:
    """Return the squared difference of features (N, ...) to a teacher's of the same shape, as a share of theirs.

    mean((s - t)^2) / (mean(t^2) + EPSILON), over all elements. Romero et al. 2015, FitNets (arXiv:1412.6550); the share
    is ours, so that one weight serves layers of any size, as is the missing regressor: the shapes agree.
    """
    student, teacher = features.float(), teacher_features.float()
    return functional.mse_loss(student, teacher) / (teacher.square().mean() + EPSILON)


def attention_error(features: Tensor, teacher_features: Tensor) -> Tensor:
    """Return how far attention maps of features (N, C, ...) are from a teacher's (N, C', ...).

    A map is the sum over the channels of the squares, divided by its L2 norm; the error is the mean over the batch of
    the squared L2 distance, 0 to 2. Zagoruyko and Komodakis 2017 (arXiv:1612.03928); theirs is the distance itself,
    whose gradient does not exist where the maps agree.
    """
    return (_attention(features) - _attention(teacher_features)).square().sum(dim=1).mean()


def _attention(features: Tensor) -> Tensor:
    return functional.normalize(features.float().square().sum(dim=1).flatten(1), dim=1)


def task_objective(
    kind: Literal["classification", "reconstruction"], *, label_smoothing: float = 0.0, exits: ExitLoss | None = None
) -> OutputObjective:
    """Return the objective of a kind of task: cross-entropy, or the squared error of reconstructing the inputs."""

    def classification(outputs: Tensor, _: Tensor, targets: Tensor) -> Tensor:
        return cross_entropy(outputs, targets, label_smoothing=label_smoothing)

    def reconstruction(outputs: Tensor, inputs: Tensor, _: Tensor) -> Tensor:
        return reconstruction_error(outputs, inputs)

    return OutputObjective(classification if kind == "classification" else reconstruction, exits or ExitLoss())
