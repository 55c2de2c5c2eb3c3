"""Does a model take what the task gives, and give what the task scores?"""

from pathlib import Path

import torch
from torch import nn

from tinyml.data import Task, check_outputs
from tinyml.errors import DataError, ModelError, first_line
from tinyml.graph.network_outputs import outputs_of
from tinyml.layers.exit_heads import has_exits
from tinyml.layers.half import HalfPrecisionNetwork


def check_task_shape(run: Path, input_shape: tuple[int, ...], task: Task | None) -> None:
    """Refuse data of another shape than the run was made for.

    Raises:
        DataError: both shapes are named.
    """
    if task is not None and task.input_shape != input_shape:
        raise DataError(f"'{run}' takes inputs {input_shape}; the task '{task.name}' gives {task.input_shape}")


def try_model(module: nn.Module, input_shape: tuple[int, ...], task: Task | None) -> None:
    """Run one batch of zeros, so that a model that does not fit is refused before any work.

    Raises:
        ModelError: the model cannot take the inputs, or does not give one tensor of the task's outputs, or one for each
            of the exits that tinyml attached.
    """
    try:
        with torch.inference_mode():
            output = module.eval()(torch.zeros(2, *input_shape))
    except Exception as error:  # whatever a user's forward raises
        first = first_line(error)
        shape = ", ".join(map(str, input_shape))
        raise ModelError(f"the model cannot take inputs of shape (N, {shape}): {first}") from error
    network = module.wrapped_network if isinstance(module, HalfPrecisionNetwork) else module
    if not isinstance(output, torch.Tensor) and not has_exits(network):
        kind = type(output).__name__
        raise ModelError(f"the model returns a {kind}; it must return one tensor (wrap it in a factory)")
    if task is not None:
        for each in outputs_of(output):
            check_outputs(task, tuple(each.shape))
