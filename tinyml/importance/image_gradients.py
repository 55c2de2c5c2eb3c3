"""Gradients of the loss of single images, and what weights' mean squares of them say: the diagonal of Fisher's matrix.

    F_i = mean over images of (d loss / d w_i)^2

The labels are those of the data, so it is the empirical Fisher information. Near a minimum F_i (dw_i)^2 / 2 is about
what the loss gains when w_i alone changes by dw_i: LeCun et al. 1990, "Optimal Brain Damage", with F for the Hessian.
"""

from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager

import numpy as np
import torch
from torch import Tensor, nn

from tinyml.data import Task
from tinyml.progress import Progress
from tinyml.training.determinism import deterministic
from tinyml.training.evaluation import NonFiniteError, device_of, evaluation_mode, placed
from tinyml.training.losses import task_objective


def fisher_diagonal(
    module: nn.Module,
    parameters: Mapping[str, nn.Parameter],
    task: Task,
    *,
    images: int,
    seed: int,
    progress: Progress,
) -> dict[str, Tensor]:
    """Return F for the named parameters, of their shapes; zeros where the loss does not depend on one.

    Args:
        module: the network; modes and `requires_grad` are as before afterwards.
        parameters: of the network, by any name.
        task: where images and loss come from: its train split, or validation where there is no train.
        images: how many are drawn, without replacement; fewer where the split is smaller.
        seed: of the drawing.
        progress: told of every image.

    Raises:
        DataError: There is neither train nor validation data, or images is below 1.
        NonFiniteError: The loss of an image is NaN or infinite.
    """
    examples = task.calibration_examples(images, seed)
    squares = {name: torch.zeros_like(parameter, requires_grad=False) for name, parameter in parameters.items()}
    batches = progress.track(task.batches(examples, 1), label="importance: gradients", total=len(examples))
    with deterministic(device_of(module)), evaluation_mode(module), differentiable(parameters.values()):
        torch.manual_seed(seed)
        for x, y in batches:
            for name, gradient in image_gradients(module, parameters, task, x, y).items():
                squares[name].addcmul_(gradient, gradient, value=1 / len(examples))
    return squares


@torch.enable_grad()
def image_gradients(
    module: nn.Module, parameters: Mapping[str, nn.Parameter], task: Task, x: np.ndarray, y: np.ndarray
) -> dict[str, Tensor]:
    """Return the gradient of the loss of one image, by name; zeros where the loss does not depend on a parameter."""
    inputs = placed(torch.from_numpy(x), module)
    loss = task_objective(task.kind)(module, inputs, torch.from_numpy(y).to(inputs.device))
    if not bool(loss.isfinite()):
        raise NonFiniteError(f"importance: the loss of an image of '{task.name}' is {loss.item()}")
    gradients = torch.autograd.grad(loss, list(parameters.values()), materialize_grads=True)
    return dict(zip(parameters, gradients, strict=True))


@contextmanager
def differentiable(parameters: Iterable[nn.Parameter]) -> Iterator[None]:
    """Let gradients be taken by the parameters while the context is open, also where they are frozen."""
    before = [(parameter, parameter.requires_grad) for parameter in parameters]
    try:
        for parameter, _ in before:
            parameter.requires_grad_(True)
        yield
    finally:
        for parameter, required in before:
            parameter.requires_grad_(required)
