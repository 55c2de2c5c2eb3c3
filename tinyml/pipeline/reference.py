"""What the trained model answers: the inputs of verification, and the few that are kept for replay on a device."""

import io
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from tinyml.data import Split, Task
from tinyml.measure.inputs import evaluation_split
from tinyml.verification.agreement import Reference
from tinyml.verification.verify import random_inputs

VERIFY_INPUTS = 1000
REPLAY_INPUTS = 16
BATCH = 50


def reference_of(
    module: nn.Module,
    task: Task | None,
    *,
    pixels: bool,
    input_shape: tuple[int, ...],
    seed: int = 0,
    most: int = VERIFY_INPUTS,
) -> Reference:
    """Return test inputs as the file takes them, with the trained model's outputs.

    Args:
        module: the trained model.
        task: gives up to 1,000 inputs; without it 100 random ones are drawn.
        pixels: whether the file takes uint8 pixels and normalises them itself.
        input_shape: of one random input without the batch.
        seed: of the random inputs.
        most: only the first so many of them.
    """
    if task is None:
        inputs: NDArray[Any] = random_inputs(input_shape, min(most, VERIFY_INPUTS // 10), seed)
        return Reference(inputs=inputs, outputs=answers(module, inputs), real=False, classification=False)
    _, split = evaluation_split(task)
    raw = np.ascontiguousarray(split.x[evaluation_rows(split)[:most]])
    normalised = task.inputs(raw)
    return Reference(
        inputs=raw if pixels else normalised,
        outputs=answers(module, normalised),
        real=True,
        classification=task.kind == "classification",
    )


def evaluation_rows(split: Split) -> NDArray[np.intp]:
    """Return the rows of up to 1,000 examples, spread evenly over the split."""
    return np.linspace(0, len(split) - 1, min(VERIFY_INPUTS, len(split))).round().astype(np.intp)


@torch.inference_mode()
def answers(module: nn.Module, inputs: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return the module's outputs (N, ...) for normalised inputs (N, ...), computed on the CPU in batches."""
    module = module.cpu().eval()
    outputs = [module(batch).float() for batch in torch.split(torch.from_numpy(inputs), BATCH)]
    result: NDArray[np.float32] = torch.cat(outputs).numpy()
    return result


def replay_file(reference: Reference) -> bytes:
    """Return reference.npz: `input` and `output` of a few examples, to run again on the device."""
    file = io.BytesIO()
    np.savez(file, input=reference.inputs[:REPLAY_INPUTS], output=reference.outputs[:REPLAY_INPUTS])
    return file.getvalue()
