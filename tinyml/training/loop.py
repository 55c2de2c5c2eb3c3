"""The one training loop. It trains whatever is attached to a module: plain weights, masks, codebooks, scales or exits.

    for each step: loss -> gradient -> optimizer (rate from the schedule) -> hooks -> averages
    at each epoch's end: validation score -> best weights -> state saved

Attachments are parametrizations, so their own parameters are trained with the rest; a hook called after each step is
for what follows a schedule or a rule, such as a mask that grows.
"""

import logging
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass

import torch
from torch import nn

from tinyml.data import Task
from tinyml.progress import Progress, Silent
from tinyml.training.batches import Batches, Position, positions, train_split
from tinyml.training.determinism import deterministic
from tinyml.training.evaluation import NonFiniteError, check_fit, device_of, evaluate, placed
from tinyml.training.losses import Objective, task_objective
from tinyml.training.optimizer import OptimizerFactory, make_optimizer
from tinyml.training.result import DivergenceError, EpochRecord, TrainingResult, best_epoch
from tinyml.training.run import Run, StepHook
from tinyml.training.settings import TrainingSettings
from tinyml.training.state import Identity, StateStore, check_identity, from_bytes, run_identity, to_bytes
from tinyml.training.weights import copy_into, digest

SAVE_INTERVAL_S = 120.0

EpochHook = Callable[[EpochRecord], None]
"""Called with the record of each epoch as it ends."""

logger = logging.getLogger(__name__)


def train(
    module: nn.Module,
    task: Task,
    settings: TrainingSettings,
    *,
    progress: Progress | None = None,
    objective: Objective | None = None,
    optimizer_factory: OptimizerFactory = make_optimizer,
    on_step: Sequence[StepHook] = (),
    on_epoch: Sequence[EpochHook] = (),
    store: StateStore | None = None,
    save_interval_s: float = SAVE_INTERVAL_S,
    device: torch.device | str = "cpu",
) -> TrainingResult:
    """Train a module in place; it ends in evaluation mode with the weights of its best epoch.

    That is the one with the highest validation score; without that split, the last. The test split is not touched.
    The same module, task, settings, threads, versions and machine give the same bytes of weights, also when the run was
    interrupted and continued from its store.

    Args:
        module: Every parameter of it that requires a gradient is trained.
        task: The data; the seed draws the order and the augmentation of its train split.
        settings: Sizes, optimizer, schedule and regularisation.
        progress: Told of each step.
        objective: The loss to minimise; by default that of the task.
        optimizer_factory: Makes the optimizer; the schedule scales the rate of each of its groups.
        on_step: Called after each step of the optimizer.
        on_epoch: Called as each epoch ends.
        store: Keeps the state at each epoch's end and every `save_interval_s`; a state found there is continued.
        save_interval_s: Seconds between states within an epoch.
        device: Where to train; the module returns to its own device after it.

    Raises:
        Refused: There is no train split, a batch is larger than it, nothing requires a gradient, the module does not
            fit the task, or the state found is of another run.
        DivergenceError: A loss, gradient or weight is not finite; the module has its last good weights.
    """
    batches = Batches(task, train_split(task, settings), settings)
    check_fit(module, task)
    identity = run_identity(settings, task.fingerprint, digest(module), device=str(device))
    objective = objective or task_objective(task.kind, label_smoothing=settings.label_smoothing)
    with deterministic(torch.device(device)), _moved(module, torch.device(device), settings):
        optimizer = optimizer_factory(module, settings)
        run = Run(module, settings, objective=objective, optimizer=optimizer, on_step=on_step)
        loop = _Loop(run, task, batches, identity, store, save_interval_s, tuple(on_epoch), progress or Silent())
        loop.resume()
        loop.run_steps(positions(run.steps_done, images=batches.images, settings=settings))
    return TrainingResult(history=tuple(run.history), best_epoch=best_epoch(run.history))


@dataclass(frozen=True)
class _Loop:
    """A run and all that surrounds its steps."""

    run: Run
    task: Task
    batches: Batches
    identity: Identity
    store: StateStore | None
    save_interval_s: float
    on_epoch: tuple[EpochHook, ...]
    progress: Progress

    def resume(self) -> None:
        """Go to where the store's state is, if it has one."""
        saved = self.store.load() if self.store is not None else None
        if saved is None:
            return
        state = from_bytes(saved)
        check_identity(state.identity, self.identity)
        self.run.restore(state)
        logger.info("training continues after step %d", self.run.steps_done)

    def run_steps(self, steps: Sequence[Position]) -> None:
        """Train at every position, and leave the best weights in the module, also where the run diverges."""
        saved_at = time.perf_counter()
        self.run.module.train()
        try:
            for position in self.progress.track(steps, label="training", total=len(steps)):
                self._train_at(position)
                due = position.ends_epoch or time.perf_counter() - saved_at >= self.save_interval_s
                if due and self.store is not None:
                    self.store.save(to_bytes(self.run.state(self.identity)))
                    saved_at = time.perf_counter()
            copy_into(self.run.module, self.run.best)
        finally:
            self.run.module.eval()

    def _train_at(self, position: Position) -> None:
        try:
            start = time.perf_counter()
            inputs, targets = self.batches.at(position)
            module = self.run.module
            loss = self.run.step(position, placed(inputs, module), targets.to(device_of(module)))
            self.run.seconds += time.perf_counter() - start
            self._show(position, loss)
            if position.ends_epoch:
                self._end_epoch(position)
        except NonFiniteError as error:
            copy_into(self.run.module, self.run.best)
            raise self._diverged(position, error) from error

    def _end_epoch(self, position: Position) -> None:
        self.run.check_weights()
        with self.run.average.shown(self.run.module) if self.run.averages else nullcontext():
            validation = self.task.validation
            score = evaluate(self.run.module, self.task, validation).score if validation is not None else None
            record = self.run.end_epoch(position, score)
        logger.info("%s", describe(record, epochs=self.run.settings.epochs))
        for hook in self.on_epoch:
            hook(record)

    def _show(self, position: Position, loss: float) -> None:
        done = position.step % position.steps_per_epoch + 1
        speed = done * self.run.settings.batch_size / self.run.seconds
        scored = f" · validation {_percent(self.run.history[-1].validation_score)}" if self.run.history else ""
        self.progress.status(
            f"epoch {position.epoch}/{self.run.settings.epochs} · loss {loss:.3f}{scored} · {speed:,.0f} images/s"
        )

    def _diverged(self, position: Position, error: NonFiniteError) -> DivergenceError:
        settings = self.run.settings
        result = TrainingResult(history=tuple(self.run.history), best_epoch=best_epoch(self.run.history))
        kept = f"the weights of epoch {result.best_epoch}" if result.best_epoch else "the weights before training"
        step = position.step % position.steps_per_epoch + 1
        return DivergenceError(
            f"training diverged in epoch {position.epoch}, step {step}: {error}. Kept: {kept}. Lower learning_rate "
            f"(now {settings.learning_rate:g}), or clip the gradient (gradient_clip, now {settings.gradient_clip:g})",
            result,
        )


def describe(record: EpochRecord, *, epochs: int) -> str:
    """Return one line about an epoch of a run of `epochs`."""
    score = _percent(record.validation_score)
    speed = f"{record.images_per_second:,.0f} images/s"
    return f"epoch {record.epoch}/{epochs}: loss {record.loss:.4f}, validation {score}, {speed}"


def _percent(score: float | None) -> str:
    return "not measured" if score is None else f"{score:.2%}"


@contextmanager
def _moved(module: nn.Module, device: torch.device, settings: TrainingSettings) -> Iterator[None]:
    """Keep the module on the device and in the memory layout of the settings while the context is open."""
    home = device_of(module)
    module.to(device)
    convolutions = [part for part in module.modules() if isinstance(part, nn.Conv2d)]
    flat = all(parameter.ndim <= 4 for parameter in module.parameters())
    if settings.channels_last and convolutions and flat:
        _lay_out(module, torch.channels_last)
    try:
        yield
    finally:
        module.to(home)
        if flat:
            _lay_out(module, torch.contiguous_format)


def _lay_out(module: nn.Module, layout: torch.memory_format) -> None:
    module.to(memory_format=layout)  # type: ignore[call-overload]  # torch's types lack this documented form
