"""The batches of a training: which images, in what order, augmented how, as a pure function of seed and step.

Several processes cut one batch into equal contiguous parts, in the order of their ranks: together they see the very
pixels that one process with the whole batch would see.

Nothing here remembers anything, so a training that was interrupted goes on with the very images it would have seen, and
nothing that a hook draws in between can change them.
"""

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from tinyml.data import Augmentation, Split, Task, augment
from tinyml.errors import DataError, UsageError
from tinyml.torchrun import Launch
from tinyml.training.settings import TrainingSettings


@dataclass(frozen=True, kw_only=True)
class Position:
    """Where in a training a step is.

    Attributes:
        step: Number of the step in the whole run, counted from 0.
        epoch: Number of the epoch, counted from 1.
        steps_per_epoch: Steps of one epoch.
        total_steps: Steps of the whole run.
    """

    step: int
    epoch: int
    steps_per_epoch: int
    total_steps: int

    @property
    def share(self) -> float:
        """Return the share of the run (above 0, at most 1) that is done after this step."""
        return (self.step + 1) / self.total_steps

    @property
    def ends_epoch(self) -> bool:
        """Return whether this is the last step of its epoch."""
        return (self.step + 1) % self.steps_per_epoch == 0


def train_split(task: Task, settings: TrainingSettings, *, processes: int = 1) -> Split:
    """Return the split to train on, in so many processes.

    Raises:
        DataError: The task has no train split.
        UsageError: A batch of all processes together is larger than the split.
    """
    if task.train is None:
        raise DataError(
            f"the data '{task.name}' has no train split, so nothing can be trained on it: name one in its card"
        )
    if settings.batch_size * processes > len(task.train):
        each = f" in each of {processes} processes" if processes > 1 else ""
        raise UsageError(
            f"batch_size is {settings.batch_size}{each}, but the train split of '{task.name}' has "
            f"{len(task.train)} images: at most {len(task.train) // processes} is allowed"
        )
    return task.train


def positions(first: int, *, images: int, settings: TrainingSettings, processes: int = 1) -> list[Position]:
    """Return the positions of all steps of a run over a split of `images`, beginning with step `first`."""
    steps_per_epoch = images // (settings.batch_size * processes)
    total = steps_per_epoch * settings.epochs
    return [
        Position(step=step, epoch=step // steps_per_epoch + 1, steps_per_epoch=steps_per_epoch, total_steps=total)
        for step in range(first, total)
    ]


class Batches:
    """Draws this process's part of the batch of any position.

    It keeps the order of one epoch, only to save drawing it at each step.
    """

    def __init__(self, task: Task, split: Split, settings: TrainingSettings, place: Launch | None = None) -> None:
        self._task, self._split, self._settings = task, split, settings
        place = place or Launch()
        self._total = settings.batch_size * place.world_size
        self._part = slice(settings.batch_size * place.rank, settings.batch_size * (place.rank + 1))
        self._epoch = 0
        self._order = np.empty(0, dtype=np.int64)

    def at(self, position: Position) -> tuple[Tensor, Tensor]:
        """Return the inputs (N, ...) float32, augmented and normalised, and the targets (N,) int64 of a position."""
        chosen = self._chosen(position)[self._part]
        x = self._split.x[chosen]
        if self._task.augmentation != Augmentation():  # else the examples need not be images
            generator = np.random.default_rng([self._settings.seed, position.epoch, position.step + 1])
            x = augment(x, self._task.augmentation, generator, part=self._part, total=self._total)
        return torch.from_numpy(self._task.inputs(x)), torch.from_numpy(self._split.y[chosen])

    def _chosen(self, position: Position) -> np.ndarray:
        """Return the numbers of the images that all processes together see at a position."""
        if position.epoch != self._epoch:
            generator = np.random.default_rng([self._settings.seed, position.epoch])
            self._order = generator.permutation(len(self._split))
            self._epoch = position.epoch
        start = position.step % position.steps_per_epoch * self._total
        return self._order[start : start + self._total]
