"""What the trained model answers: the inputs of verification, and the few that are kept for replay on a device."""

import io
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from tinyml.data import Split, Task
from tinyml.graph.network_outputs import outputs_of
from tinyml.measure.inputs import evaluation_split
from tinyml.runtime.exit_policy import ExitPolicy
from tinyml.verification.agreement import Reference
from tinyml.verification.exits import ExitAnswers
from tinyml.verification.verify import random_inputs

VERIFY_INPUTS = 1000
RANDOM_INPUTS = 100
REPLAY_INPUTS = 16
BATCH = 50


def reference_of(
    module: nn.Module,
    task: Task | None,
    *,
    pixels: bool,
    input_shape: tuple[int, ...],
    seed: int = 0,
    images: int = VERIFY_INPUTS,
    most: int | None = None,
    policy: ExitPolicy | None = None,
) -> Reference:
    """Return test inputs as the file takes them, with the trained model's outputs.

    Args:
        module: the trained model.
        task: gives the inputs; without it 100 random ones are drawn.
        pixels: whether the file takes uint8 pixels and normalises them itself.
        input_shape: of one random input without the batch.
        seed: of the random inputs.
        images: so many test inputs at most, spread evenly over the split.
        most: only the first so many of these, or of the random ones; None for all.
        policy: of a network with exits, when examples leave it.
    """
    if task is None:
        inputs: NDArray[Any] = random_inputs(input_shape, RANDOM_INPUTS, seed)[:most]
        outputs, exits = _answered(module, inputs, policy)
        return Reference(inputs=inputs, outputs=outputs, real=False, classification=False, exits=exits)
    _, split = evaluation_split(task)
    raw = np.ascontiguousarray(split.x[evaluation_rows(split, images)[:most]])
    normalised = task.inputs(raw)
    outputs, exits = _answered(module, normalised, policy)
    return Reference(
        inputs=raw if pixels else normalised,
        outputs=outputs,
        real=True,
        classification=task.kind == "classification",
        exits=exits,
    )


def evaluation_rows(split: Split, images: int = VERIFY_INPUTS) -> NDArray[np.intp]:
    """Return the rows of up to so many examples, spread evenly over the split."""
    return np.linspace(0, len(split) - 1, min(images, len(split))).round().astype(np.intp)


def answers(module: nn.Module, inputs: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return the module's outputs (N, ...) for normalised inputs (N, ...), of a network with exits its own."""
    return answers_at_exits(module, inputs)[-1]


@torch.inference_mode()
def answers_at_exits(module: nn.Module, inputs: NDArray[np.float32]) -> tuple[NDArray[np.float32], ...]:
    """Return the outputs (N, ...) of each exit, the last the module's own, computed on the CPU in batches."""
    module = module.cpu().eval()
    batches = [outputs_of(module(batch)) for batch in torch.split(torch.from_numpy(inputs), BATCH)]
    return tuple(torch.cat([each.float() for each in at_exit]).numpy() for at_exit in zip(*batches, strict=True))


def _answered(
    module: nn.Module, inputs: NDArray[np.float32], policy: ExitPolicy | None
) -> tuple[NDArray[np.float32], ExitAnswers | None]:
    """Return what the module answers, and with a policy what it answers at each exit."""
    if policy is None:
        return answers(module, inputs), None
    exits = ExitAnswers(policy=policy, logits=np.stack(answers_at_exits(module, inputs)))
    return exits.chosen, exits


def replay_file(reference: Reference) -> bytes:
    """Return reference.npz: `input` and `output` of a few examples, to run again on the device.

    Of a network with exits also `exit`, where each leaves, and `exit_logits` (exits + 1, N, classes).
    """
    few = {"input": reference.inputs[:REPLAY_INPUTS], "output": reference.outputs[:REPLAY_INPUTS]}
    if reference.exits is not None:
        few |= {
            "exit": reference.exits.taken[:REPLAY_INPUTS],
            "exit_logits": reference.exits.logits[:, :REPLAY_INPUTS],
        }
    file = io.BytesIO()
    np.savez(file, **few)  # type: ignore[arg-type]  # its stubs take the names for its own options
    return file.getvalue()
