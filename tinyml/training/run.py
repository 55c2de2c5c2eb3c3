"""One training under way: what changes from step to step, and how it becomes a state and back."""

import math
from collections.abc import Callable, Iterator, Sequence

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from tinyml.layers.attachment import advance, attachment_faults
from tinyml.training.batches import Position
from tinyml.training.determinism import seed_step
from tinyml.training.evaluation import NonFiniteError, device_of
from tinyml.training.losses import Objective
from tinyml.training.precision import Arithmetic
from tinyml.training.processes import ALONE, Processes
from tinyml.training.result import EpochRecord, best_epoch
from tinyml.training.schedule import learning_rate_factor
from tinyml.training.settings import TrainingSettings
from tinyml.training.state import Identity, TrainingState
from tinyml.training.weights import AveragedWeights, Tensors, copy_into, copy_out, stored

StepHook = Callable[[nn.Module, Position], None]
"""Called with the module after each step of the optimizer, before the weights are averaged."""


class Run:
    """The module, its optimizer and averages, the epochs so far and the best of them.

    Attributes:
        steps_done: Steps of the whole run that are done.
        loss_sum: The sum of the losses of the current epoch's steps.
        seconds: Time spent on the current epoch's steps; the caller adds to it.
        history: The epochs that are over.
        best: The module's tensors after the best epoch; before the first epoch ends, as they were given.
    """

    def __init__(
        self,
        module: nn.Module,
        settings: TrainingSettings,
        *,
        objective: Objective,
        optimizer: Optimizer,
        on_step: Sequence[StepHook] = (),
        processes: Processes = ALONE,
    ) -> None:
        self.module, self.settings, self.objective, self.optimizer = module, settings, objective, optimizer
        self.on_step, self.processes = tuple(on_step), processes
        self.steps_done, self.loss_sum, self.seconds = 0, 0.0, 0.0
        self.history: list[EpochRecord] = []
        self.best: Tensors = copy_out(module)
        self.average = AveragedWeights(module, settings.ema_decay)
        self.arithmetic = Arithmetic(settings.precision, device_of(module))
        self._rates = [group["lr"] for group in optimizer.param_groups]

    @property
    def averages(self) -> bool:
        """Return whether the averaged weights are the ones that are scored and kept."""
        return self.settings.ema_decay > 0

    def step(self, position: Position, inputs: Tensor, targets: Tensor) -> float:
        """Train on one batch and return its loss, the mean over all processes.

        Raises:
            NonFiniteError: The loss or the gradient is not finite; the weights are as they were before the step. An
                overflow of float16 leaves out the step; only many in a row are an error.
        """
        seed_step(self.settings.seed, position.step, rank=self.processes.place.rank)
        with self.arithmetic.lowered():
            loss = self.objective(self.module, inputs, targets)
        value = self.processes.mean(loss.item())  # not finite in one process is so in all
        if not math.isfinite(value):
            raise NonFiniteError(f"the loss is {value}")
        self.optimizer.zero_grad()
        self.arithmetic.backward(loss, self.optimizer)
        self._clip()
        factor = learning_rate_factor(position.step, total_steps=position.total_steps, warmup=self.settings.warmup)
        for group, rate in zip(self.optimizer.param_groups, self._rates, strict=True):
            group["lr"] = rate * factor
        self.arithmetic.step(self.optimizer)
        advance(self.module, position.share)
        for hook in self.on_step:
            hook(self.module, position)
        if self.averages:
            self.average.update(self.module, position.step)
        self.steps_done = position.step + 1
        self.loss_sum += value
        return value

    def end_epoch(self, position: Position, validation_score: float | None) -> EpochRecord:
        """Record the epoch that `position` ends, and keep the weights if it is the best so far.

        The module must show the averaged weights if there are any.
        """
        images = position.steps_per_epoch * self.settings.batch_size * self.processes.world_size
        record = EpochRecord(
            epoch=position.epoch,
            loss=self.loss_sum / position.steps_per_epoch,
            validation_score=validation_score,
            images_per_second=images / self.seconds,
            unfinished=bool(attachment_faults(self.module)),
        )
        self.history.append(record)
        self.loss_sum, self.seconds = 0.0, 0.0
        if best_epoch(self.history) == position.epoch:
            self.best = copy_out(self.module)
        return record

    def check_weights(self) -> None:
        """Raise unless every parameter is finite.

        Raises:
            NonFiniteError: One is not; it is named.
        """
        for name, parameter in self.module.named_parameters():
            if not bool(torch.isfinite(parameter).all()):
                raise NonFiniteError(f"the weights '{name}' are not finite")

    def state(self, identity: Identity) -> TrainingState:
        """Return all that `restore` needs to go on from here."""
        tensors = {f"module/{name}": tensor for name, tensor in copy_out(self.module).items()}
        tensors |= {f"best/{name}": tensor for name, tensor in self.best.items()}
        tensors |= {f"optimizer/{key}/{name}": stored(tensor) for name, key, tensor, _ in self._optimizer_tensors()}
        tensors |= {f"arithmetic/{name}": tensor for name, tensor in self.arithmetic.tensors().items()}
        if self.averages:
            tensors |= {f"average/{name}": stored(tensor) for name, tensor in self.average.tensors.items()}
        return TrainingState(
            identity=identity,
            step=self.steps_done,
            loss_sum=self.loss_sum,
            seconds=self.seconds,
            history=tuple(self.history),
            tensors=tensors,
        )

    def restore(self, state: TrainingState) -> None:
        """Continue from a state that a run of the same module and settings gave."""
        self.steps_done, self.loss_sum, self.seconds = state.step, state.loss_sum, state.seconds
        self.history = list(state.history)
        copy_into(self.module, _of_kind(state.tensors, "module"))
        self.best = _of_kind(state.tensors, "best")
        for name, tensor in _of_kind(state.tensors, "average").items():
            self.average.tensors[name].copy_(tensor)
        self._restore_optimizer(_of_kind(state.tensors, "optimizer"))
        self.arithmetic.restore(_of_kind(state.tensors, "arithmetic"))

    def _clip(self) -> None:
        if self.settings.gradient_clip == 0:
            return
        norm = nn.utils.clip_grad_norm_(self.module.parameters(), self.settings.gradient_clip)
        if not math.isfinite(norm.item()) and not self.arithmetic.scaled:
            raise NonFiniteError(f"the gradient's norm is {norm.item()}")

    def _optimizer_tensors(self) -> Iterator[tuple[str, str, Tensor, nn.Parameter]]:
        """Yield (parameter's name, key, tensor, parameter) of everything that the optimizer remembers."""
        for name, parameter in self.module.named_parameters():
            for key, value in self.optimizer.state.get(parameter, {}).items():
                if isinstance(value, Tensor):
                    yield name, key, value, parameter

    def _restore_optimizer(self, tensors: Tensors) -> None:
        parameters = dict(self.module.named_parameters())
        for path, tensor in tensors.items():
            key, name = path.split("/", 1)
            parameter = parameters[name]
            # The memory layout of the parameter, not of the file: another layout is another order of additions.
            follows_parameter = key != "step" and tensor.shape == parameter.shape
            own = torch.empty_like(parameter if follows_parameter else tensor)
            self.optimizer.state[parameter][key] = own.detach().copy_(tensor)


def _of_kind(tensors: Tensors, kind: str) -> Tensors:
    return {name.removeprefix(f"{kind}/"): tensor for name, tensor in tensors.items() if name.startswith(f"{kind}/")}
