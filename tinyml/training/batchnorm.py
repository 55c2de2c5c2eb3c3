"""BatchNorm's running statistics, estimated anew on train images.

Weights that changed (pruned, averaged, rounded) leave statistics that no longer describe what reaches a normalisation.
For B batches with the mean m_b and the unbiased variance v_b of a channel of its inputs:

    running_mean = sum_b m_b / B        running_var = sum_b v_b / B

the cumulative average that torch takes with momentum None. All normalisations are estimated together, each behind
others that normalise by the batch, as in training. After Wu and Johnson 2021, PreciseBN (arXiv:2105.07576), who add the
variance of the batches' means to running_var: at our batch sizes it is small beside it.
"""

import logging
import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import numpy as np
import torch
from torch import Tensor, nn

from tinyml.data import Task
from tinyml.errors import DataError, UsageError
from tinyml.graph.layer_types import BatchNorm
from tinyml.progress import Progress, Silent
from tinyml.training.determinism import deterministic
from tinyml.training.evaluation import NonFiniteError, device_of, evaluation_mode, placed
from tinyml.training.freezing import train_mode

AnyBatchNorm = BatchNorm | nn.SyncBatchNorm

logger = logging.getLogger(__name__)


def recalibrate_batchnorm(
    module: nn.Module,
    task: Task,
    *,
    images: int,
    seed: int,
    batch_size: int = 250,
    progress: Progress | None = None,
) -> int:
    """Return how many normalisations have new running statistics: the average over train images, not augmented.

    Nothing else of the module changes. Left alone are normalisations in a frozen part (see `frozen`), those without
    running statistics and those that the module does not call.

    Args:
        module: Its statistics are changed in place; as they were where an error is raised.
        task: Its train split gives the images.
        images: How many, drawn without replacement; fewer where the split is smaller, which is logged.
        seed: Draws them.
        batch_size: At most so many at once, in batches of sizes that differ by one image at most.
        progress: Told of each batch.

    Raises:
        DataError: There is no train split.
        UsageError: Fewer than 2 images, or batches of fewer than 2.
        NonFiniteError: A statistic is NaN or infinite.
    """
    batches = _batches(task, images=images, seed=seed, batch_size=batch_size)
    with evaluation_mode(module):
        parts = _to_estimate(module)
        if not parts:
            return 0
        with deterministic(device_of(module)), torch.no_grad(), _anew(list(parts.values())):
            for x in (progress or Silent()).track(batches, label="BatchNorm statistics", total=len(batches)):
                module(placed(torch.from_numpy(task.inputs(x)), module))
            for name, part in parts.items():
                if not all(bool(torch.isfinite(each).all()) for each in _statistics(part)):
                    raise NonFiniteError(f"the statistics of '{name}' on train images are NaN or infinite")
            return sum(_is_called(part) for part in parts.values())


def _batches(task: Task, *, images: int, seed: int, batch_size: int) -> list[np.ndarray]:
    """Return the examples, as the task stores them, in batches of at most `batch_size`."""
    if task.train is None:
        raise DataError(f"the data '{task.name}' has no train split to estimate BatchNorm's statistics on")
    if min(images, batch_size, len(task.train)) < 2:
        raise UsageError(
            f"BatchNorm's statistics need 2 images at a time or more: {images} images of the {len(task.train)} of "
            f"'{task.name}' were asked for, in batches of {batch_size}"
        )
    if images > len(task.train):
        logger.warning("BatchNorm is estimated on all %d images: %d were asked for", len(task.train), images)
    rows = np.random.default_rng(seed).permutation(len(task.train))[:images]
    # Of equal size, for each counts the same; never one image alone, whose variance may not be defined.
    count = min(math.ceil(len(rows) / batch_size), len(rows) // 2)
    return [task.train.x[part] for part in np.array_split(rows, count)]


def _to_estimate(module: nn.Module) -> dict[str, AnyBatchNorm]:
    """Return by name the normalisations that a training would move; the module is in evaluation mode then."""
    train_mode(module)
    named = module.named_modules()
    parts = {name: p for name, p in named if isinstance(p, AnyBatchNorm) and p.training and p.track_running_stats}
    module.eval()
    return parts


@contextmanager
def _anew(parts: Sequence[AnyBatchNorm]) -> Iterator[None]:
    """Average statistics over the forwards made while the context is open; after an error they are as before."""
    kept = [({name: t.clone() for name, t in part.named_buffers(recurse=False)}, part.momentum) for part in parts]
    for part in parts:
        part.reset_running_stats()
        part.momentum = None
        part.train()
    done = False
    try:
        yield
        done = True
    finally:
        for part, (buffers, momentum) in zip(parts, kept, strict=True):
            new = {"running_mean", "running_var"} if done and _is_called(part) else set()
            part.momentum = momentum
            for name in buffers.keys() - new:
                part.get_buffer(name).copy_(buffers[name])


def _is_called(part: AnyBatchNorm) -> bool:
    assert part.num_batches_tracked is not None
    return part.num_batches_tracked.item() > 0


def _statistics(part: AnyBatchNorm) -> tuple[Tensor, Tensor]:
    assert part.running_mean is not None
    assert part.running_var is not None
    return part.running_mean, part.running_var
