"""The one training loop. It trains whatever is attached to a module: plain weights, masks, codebooks, scales or exits.

    for each step: loss -> gradient -> optimizer (rate from the schedule) -> attachments -> hooks -> averages
    at each epoch's end: validation score -> best weights -> state saved

Attachments are parametrizations (layers/attachment.py): their own parameters are trained with the rest, and after each
step each is told how much of the training is done. Hooks are the caller's.
"""

import logging
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass

import torch
from torch import nn

from tinyml.data import Task
from tinyml.progress import Progress, Silent
from tinyml.training.batches import Batches, Position, positions, train_split
from tinyml.training.data_parallel import data_parallel, equalize_buffers
from tinyml.training.determinism import deterministic
from tinyml.training.evaluation import NonFiniteError, check_fit, device_of, evaluate, move, placed
from tinyml.training.freezing import train_mode
from tinyml.training.losses import Objective, task_objective
from tinyml.training.optimizer import OptimizerFactory, make_optimizer
from tinyml.training.precision import check_precision
from tinyml.training.processes import ALONE, Processes
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
    identity: Mapping[str, str] = {},
    processes: Processes = ALONE,
) -> TrainingResult:
    """Train a module in place; it ends in evaluation mode with the weights of its best epoch.

    That is the one with the highest validation score; without that split, the last. The test split is not touched.
    The same arguments, threads, versions and machine give the same bytes of weights, also after an interruption.

    Args:
        module: Every parameter of it that requires a gradient is trained. A part none of whose parameters does stays
            in evaluation mode, so that its buffers do not move either.
        task: The data; the seed draws the order and the augmentation of its train split.
        settings: Sizes, optimizer, schedule and regularisation.
        progress: Told of each step.
        objective: The loss to minimise, a mean over the batch; by default that of the task.
        optimizer_factory: Makes the optimizer; the schedule scales the rate of each of its groups.
        on_step: Called after each step of the optimizer.
        on_epoch: Called as each epoch ends, and first for the epochs of a state that is continued.
        store: Keeps the state at each epoch's end and every `save_interval_s`; a state found there is continued.
        save_interval_s: Seconds between states within an epoch.
        device: Where to train; the module returns to its own device after it.
        identity: What else the result depends on, by name: a state is continued only where it is the same.
        processes: Those that train together, each calling this alike. Hooks are called in each, the store in the first.

    Raises:
        Refused: There is no train split, a batch is larger than it, nothing requires a gradient, the module does not
            fit the task, the device lacks the precision, or the state found is of another run.
        DivergenceError: A loss, gradient or weight is not finite; the module has its last good weights.
    """
    split = train_split(task, settings, processes=processes.world_size)
    check_fit(module, task)
    place = torch.device(device)
    start = processes.broadcast(digest(module))  # the first one's weights count: the others are given them
    own = run_identity(settings, task.fingerprint, start, device=place.type, processes=processes.world_size)
    facts = {**identity, **own}
    processes.agree({name: str(value) for name, value in facts.items()})
    objective = objective or task_objective(task.kind, label_smoothing=settings.label_smoothing)
    with _ready(module, objective, settings, place, processes) as joint:
        optimizer = optimizer_factory(module, settings)
        run = Run(module, settings, objective=joint, optimizer=optimizer, on_step=on_step, processes=processes)
        batches = Batches(task, split, settings, processes.place)
        loop = _Loop(run, task, batches, facts, store, save_interval_s, tuple(on_epoch), progress or Silent())
        loop.resume()
        loop.run_steps(positions(run.steps_done, images=len(split), settings=settings, processes=processes.world_size))
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

    @property
    def processes(self) -> Processes:
        """The processes that train together."""
        return self.run.processes

    def resume(self) -> None:
        """Go to where the store's state is, if it has one."""
        saved = self.processes.broadcast(self.store.load() if self.store is not None and self.processes.leads else None)
        if saved is None:
            return
        state = from_bytes(saved)
        check_identity(state.identity, self.identity)
        self.run.restore(state)
        logger.info("training continues after step %d", self.run.steps_done)
        for record in self.run.history:
            self._tell(record)

    def run_steps(self, steps: Sequence[Position]) -> None:
        """Train at every position, and leave the best weights in the module, also where the run diverges."""
        saved_at = time.perf_counter()
        train_mode(self.run.module)
        try:
            done = self.run.steps_done
            for position in self.progress.track(steps, label="training", total=done + len(steps), done=done):
                self._train_at(position)
                due = position.ends_epoch or time.perf_counter() - saved_at >= self.save_interval_s
                if due and self.store is not None and self.processes.leads:
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
        equalize_buffers(self.run.module, self.processes)
        with self.run.average.shown(self.run.module) if self.run.averages else nullcontext():
            record = self.run.end_epoch(position, self._validation_score())
        logger.info("%s", describe(record, epochs=self.run.settings.epochs))
        self._tell(record)

    def _validation_score(self) -> float | None:
        if self.task.validation is None:
            return None
        return evaluate(self.run.module, self.task, self.task.validation, processes=self.processes).score

    def _tell(self, record: EpochRecord) -> None:
        for hook in self.on_epoch:
            hook(record)

    def _show(self, position: Position, loss: float) -> None:
        done = position.step % position.steps_per_epoch + 1
        speed = done * self.run.settings.batch_size * self.processes.world_size / self.run.seconds
        scored = f" · validation {_percent(self.run.history[-1].validation_score)}" if self.run.history else ""
        self.progress.status(
            f"epoch {position.epoch}/{self.run.settings.epochs} · loss {loss:.3f}{scored} · {speed:,.0f} images/s"
        )

    def _diverged(self, position: Position, error: NonFiniteError) -> DivergenceError:
        settings = self.run.settings
        result = TrainingResult(history=tuple(self.run.history), best_epoch=best_epoch(self.run.history))
        step = position.step % position.steps_per_epoch + 1
        wider = "" if settings.precision == "float32" else f", or use precision float32 (now {settings.precision})"
        return DivergenceError(
            f"training diverged in epoch {position.epoch}, step {step}: {error}. Lower learning_rate "
            f"(now {settings.learning_rate:g}), or clip the gradient "
            f"(gradient_clip, now {settings.gradient_clip:g}){wider}",
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
def _ready(
    module: nn.Module, objective: Objective, settings: TrainingSettings, device: torch.device, processes: Processes
) -> Iterator[Objective]:
    """Keep the module on the device and in the memory layout of the settings while the context is open.

    It gives the objective as all processes together minimise it.
    """
    home = device_of(module)
    with deterministic(device):
        check_precision(settings.precision, device)  # its product is the first: cuBLAS reads its settings there
        move(module, device, channels_last=settings.channels_last)
        try:
            with data_parallel(module, objective, processes) as joint:
                yield joint
        finally:
            move(module, home, channels_last=False)
