"""How well a module does a task, in torch: for choices made on validation data.

What is said of a product is measured on its ONNX file, in tinyml.measure.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor, nn

from tinyml.data import Split, Task, check_outputs
from tinyml.errors import DataError, ModelError, TinymlError, first_line
from tinyml.graph.network_outputs import outputs_of
from tinyml.training.processes import ALONE, Processes

BATCH_SIZE = 500


class NonFiniteError(TinymlError):
    """A loss, gradient, weight or output is NaN or infinite."""


@dataclass(frozen=True, kw_only=True)
class Evaluation:
    """The score of a module over n examples.

    Attributes:
        score: 0-1: accuracy, or the AUC of a reconstruction; of a network with exits the mean over all of them.
        n: number of examples.
        by_exit: the score at each exit, the last the network's own; one for a network without exits.
    """

    score: float
    n: int
    by_exit: tuple[float, ...]


def evaluate(
    module: nn.Module, task: Task, split: Split, *, batch_size: int = BATCH_SIZE, processes: Processes = ALONE
) -> Evaluation:
    """Return the module's score on a split, in evaluation mode; the mode of every submodule is restored.

    Several processes predict a share each, and all return the score of the whole.

    Raises:
        NonFiniteError: An output is not: a score of it would mean nothing.
    """
    outputs = _predict_together(module, task, split, batch_size, processes)
    broken = int((~np.isfinite(outputs.reshape(len(outputs), -1)).all(axis=1)).sum())
    if broken:
        raise NonFiniteError(f"the outputs for {broken:,} of {len(split):,} examples are NaN or infinite")
    # Only the error of a reconstruction is taken against the inputs.
    inputs = task.inputs(split.x) if task.kind == "reconstruction" else outputs[:, 0]
    scores = [float(task.score(at_exit, split.y, inputs).mean()) for at_exit in outputs.swapaxes(0, 1)]
    return Evaluation(score=sum(scores) / len(scores), n=len(split), by_exit=tuple(scores))


def predict(module: nn.Module, task: Task, split: Split, *, batch_size: int = BATCH_SIZE) -> np.ndarray:
    """Return the outputs (N, exits, ...) float32 of the module in evaluation mode for a split, in its order.

    The last exit is the network's own output, and of a network without exits the only one.

    Raises:
        DataError: The split is empty.
    """
    if len(split) == 0:
        raise DataError(f"a split of '{task.name}' is empty: there is nothing to score on")
    outputs: list[Tensor] = []
    with evaluation_mode(module), torch.inference_mode():
        for x, _ in task.batches(split, batch_size):
            given = outputs_of(module(placed(torch.from_numpy(x), module)))
            outputs.append(torch.stack([each.float().cpu() for each in given], dim=1))
    return torch.cat(outputs).numpy()


def _predict_together(module: nn.Module, task: Task, split: Split, batch_size: int, processes: Processes) -> np.ndarray:
    if len(split) < processes.world_size:  # nothing to share
        return predict(module, task, split, batch_size=batch_size)
    own = processes.share(len(split))
    part = replace(split, x=split.x[own], y=split.y[own])
    return processes.gathered(predict(module, task, part, batch_size=batch_size))


def placed(inputs: Tensor, module: nn.Module) -> Tensor:
    """Return the inputs on the module's device, in the memory layout of its convolutions."""
    layout = torch.channels_last if inputs.ndim == 4 and is_channels_last(module) else torch.contiguous_format
    return inputs.to(device_of(module), memory_format=layout)


def device_of(module: nn.Module) -> torch.device:
    """Return where the module's first parameter is; the CPU for a module without any."""
    return next((parameter.device for parameter in module.parameters()), torch.device("cpu"))


def is_channels_last(module: nn.Module) -> bool:
    """Return whether the module's convolutions keep their weights in (N, H, W, C) memory."""
    kernels = [p for p in module.parameters() if p.ndim == 4 and not p.is_contiguous()]
    return any(p.is_contiguous(memory_format=torch.channels_last) for p in kernels)


def move(module: nn.Module, device: torch.device, *, channels_last: bool) -> None:
    """Move the module to a device, and its memory to (N, H, W, C) where that is wanted and it has 2-d convolutions."""
    module.to(device)
    if any(parameter.ndim > 4 for parameter in module.parameters()):
        return  # torch lays out all or nothing, and this layout is of 4 dimensions
    wanted = channels_last and any(isinstance(part, nn.Conv2d) for part in module.modules())
    layout = torch.channels_last if wanted else torch.contiguous_format
    module.to(memory_format=layout)  # type: ignore[call-overload]  # torch's types lack this documented form


@contextmanager
def evaluation_mode(module: nn.Module) -> Iterator[None]:
    """Set evaluation mode while the context is open; after it every submodule has the mode that it had."""
    modes = [(part, part.training) for part in module.modules()]
    module.eval()
    try:
        yield
    finally:
        for part, mode in modes:
            part.training = mode


def check_fit(module: nn.Module, task: Task) -> None:
    """Raise unless the module takes the task's inputs and gives as many outputs as the task has classes, at every exit.

    Raises:
        ModelError: It does not; the message names what was given and what is needed.
    """
    for outputs in trial_outputs(module, task, "model"):
        check_outputs(task, tuple(outputs.shape))


def trial_outputs(module: nn.Module, task: Task, who: str) -> tuple[Tensor, ...]:
    """Return the module's outputs (2, ...) for two inputs of zeros, in evaluation mode and without gradients.

    They are those of its exits, the last its own; only a classifier may have exits.

    Raises:
        ModelError: It does not take the task's inputs, or gives no tensors; the message calls it `who`.
    """
    try:
        with evaluation_mode(module), torch.no_grad():
            given = module(placed(torch.zeros(2, *task.input_shape), module))
    except RuntimeError as error:
        reason = first_line(error)
        raise ModelError(f"the {who} does not take the inputs {task.input_shape} of '{task.name}': {reason}") from error
    try:
        outputs = outputs_of(given)
    except TypeError:
        outputs = ()
    if len(outputs) == 1 or (outputs and task.kind == "classification"):
        return outputs
    raise ModelError(f"the {who} gives a {type(given).__name__} for the inputs of '{task.name}', not a tensor")
