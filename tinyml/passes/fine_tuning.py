"""Fine-tuning: the one pass that trains. Whatever earlier passes attached is trained with the network, and kept.

    loss = (1 - w) cross_entropy(student, labels) + w T^2 KL(teacher || student) + v mean over hints

with the weight w and the temperature T of Hinton, Vinyals and Dean 2015 (arXiv:1503.02531). The teacher is the
uncompressed network at the root of the chain, or another one of the same classes that the recipe names.
"""

import dataclasses
import logging
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, ClassVar

import torch
from pydantic import Discriminator, Field, JsonValue, Tag
from torch import nn

from tinyml.checkpoint import load_compressed, load_into, read_state
from tinyml.data import Task
from tinyml.errors import DataError, RecipeError, TinymlError
from tinyml.layers.attachment import attached, attachment_faults
from tinyml.layers.exit_heads import has_exits
from tinyml.layers.integer_layers import snap_biases, widen_for_biases
from tinyml.layers.quantizers import scale_faults, weight_quantizers
from tinyml.models import create_model
from tinyml.passes.base import Compressed, Context, Pass, Role
from tinyml.passes.checked_settings import check_settings
from tinyml.passes.exit_training import ExitTraining, changed_outside_heads, held
from tinyml.training import (
    DivergenceError,
    EpochRecord,
    Objective,
    OptimizerName,
    Precision,
    TrainingSettings,
    check_teacher,
    digest,
    distilled,
    evaluate,
    recalibrate_batchnorm,
    task_objective,
    train,
    train_split,
)

_logger = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class Distillation:
    """How a teacher takes part.

    Attributes:
        temperature: T, which softens both networks' probabilities; above 0.
        weight: w, the teacher's share (0-1) of the loss.
        hints: glob patterns of modules whose outputs should be like the teacher's.
        hint_weight: v, the factor of the mean over the hints.
        teacher: a checkpoint or run directory, relative to the working directory; without it the uncompressed network
            teaches.
        teacher_model: the teacher's zoo name or 'package.module:factory'; "" where it is the student's, or a run
            directory, which knows.
        teacher_args: arguments of the teacher's factory.
    """

    temperature: Annotated[float, Field(gt=0, allow_inf_nan=False)] = 4.0
    weight: Annotated[float, Field(ge=0, le=1)] = 0.9
    hints: tuple[str, ...] = ()
    hint_weight: Annotated[float, Field(ge=0, allow_inf_nan=False)] = 1.0
    teacher: Path | None = None
    teacher_model: str = ""
    teacher_args: Mapping[str, JsonValue] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Refuse values that are not allowed, and what describes a teacher that is not there."""
        check_settings(self)
        if self.teacher is None and (self.teacher_model or self.teacher_args):
            raise RecipeError("distill: teacher_model and teacher_args describe a teacher: give its checkpoint, too")


@dataclass(frozen=True, kw_only=True)
class FineTuning(Pass):
    """Train the network, and all that is attached to it, on the train split; the best epoch by validation is kept.

    The attributes without a line here are those of `tinyml.TrainingSettings`.

    Attributes:
        epochs: passes over the train split; 0 only re-calibrates BatchNorm.
        batch_size: images a step, of each process.
        distill: `true`, or how a teacher takes part; `false` leaves it out.
        freeze: glob patterns of modules whose parameters and statistics stay as they are.
        gradient_clip: largest norm of all gradients together, 0 for any; null is 1 behind linear_quantization, where
            BatchNorm is folded and cannot tame them, and 0 elsewhere.
        exits: how the exits of a network are trained that has some.
        batchnorm_images: after the training, BatchNorm's statistics are estimated anew on so many train images; 0 keeps
            those of the training.
    """

    role: ClassVar[Role] = "train"

    epochs: Annotated[int, Field(ge=0)] = 5
    batch_size: Annotated[int, Field(ge=1)] = 64
    optimizer: OptimizerName = "sgd"
    learning_rate: Annotated[float, Field(gt=0, allow_inf_nan=False)] = 0.01
    weight_decay: Annotated[float, Field(ge=0, allow_inf_nan=False)] = 5e-4
    warmup: Annotated[float, Field(ge=0, lt=1)] = 0.05
    label_smoothing: Annotated[float, Field(ge=0, lt=1)] = 0.0
    gradient_clip: Annotated[float, Field(ge=0, allow_inf_nan=False)] | None = None
    ema_decay: Annotated[float, Field(ge=0, lt=1)] = 0.0
    channels_last: bool = True
    precision: Precision = "float32"
    distill: Annotated[
        Annotated[bool, Tag("switch")] | Annotated[Distillation, Tag("teacher")],
        Discriminator(lambda value: "teacher" if isinstance(value, dict | Distillation) else "switch"),
    ] = False
    freeze: tuple[str, ...] = ()
    exits: ExitTraining = field(default_factory=ExitTraining)
    batchnorm_images: Annotated[int, Field(ge=0)] = 0

    def __post_init__(self) -> None:
        """Spell out what `distill: true` stands for, and refuse values that are not allowed or do nothing."""
        if self.distill is True:
            object.__setattr__(self, "distill", Distillation())
        super().__post_init__()
        if self.distill and self.exits.sets_distillation:
            raise RecipeError(
                "fine_tuning: exits learn from the teacher that distill brings, so that distill and temperature of "
                "exits do nothing; leave those out, or distill"
            )

    def requires(self, model: Compressed, context: Context) -> None:
        """Refuse missing data, patterns that match nothing, another network's classes."""
        task = _task(context)
        if not self.epochs and not self.batchnorm_images:
            raise RecipeError("fine_tuning: epochs and batchnorm_images are both 0, so there is nothing to do")
        if not self.epochs and self.distill:
            raise RecipeError("fine_tuning: distill needs epochs, and they are 0")
        if self.epochs:
            train_split(task, self._settings(model, context), processes=context.processes.world_size)
        self.exits.check(model.module)
        with held(model.module, self.freeze, self.exits):
            if self.epochs:
                _check_growth(model.module)
            if isinstance(self.distill, Distillation):
                teacher = self._teacher(self.distill, model, context)
                check_teacher(model.module, teacher, task, self.distill.hints)

    def apply(self, model: Compressed, context: Context) -> Compressed:
        """Return the model with trained weights; what training needs against a kill is kept in the context's store."""
        after, task = model.copy(), _task(context)
        with held(after.module, self.freeze, self.exits):
            if self.epochs:
                self._train(after, context)
                if context.target.integer is not None and context.target.integer.biases == "int32":
                    widen_for_biases(after.module)  # of a quantized network, scales and biases become those that ship
                    snap_biases(after.module)
            if self.batchnorm_images:
                after.module.to(context.device)
                layers = recalibrate_batchnorm(
                    after.module, task, images=self.batchnorm_images, seed=context.seed, progress=context.progress
                )
                images = min(self.batchnorm_images, len(task.train or ()))
                context.record({"event": "batchnorm", "layers": layers, "images": images})
        return after

    def ensures(self, before: Compressed, after: Compressed) -> None:
        """Check that all is finite, that attachments keep their promises, and that frozen parameters are the same."""
        for name, tensor in after.module.state_dict().items():
            if tensor.is_floating_point() and not bool(torch.isfinite(tensor).all()):
                raise TinymlError(f"fine_tuning: '{name}' is not finite after the training; lower learning_rate")
        if faults := [*attachment_faults(after.module), *scale_faults(after.module)]:
            raise TinymlError("fine_tuning: the training broke what an earlier pass promised: " + "; ".join(faults))
        trained = dict(after.module.named_parameters())
        if self.exits.train == "heads" and (changed := changed_outside_heads(before.module, after.module)):
            raise TinymlError(f"fine_tuning: '{changed[0]}' was not to be trained and has changed")
        with held(before.module, self.freeze, self.exits):
            for name, parameter in before.module.named_parameters():
                if not parameter.requires_grad and not torch.equal(parameter, trained[name]):
                    raise TinymlError(f"fine_tuning: '{name}' was to be frozen and has changed")

    def _settings(self, model: Compressed, context: Context) -> TrainingSettings:
        names = {each.name for each in dataclasses.fields(TrainingSettings)} - {"epochs", "seed"}
        shared = {name: getattr(self, name) for name in names}
        if self.gradient_clip is None:
            shared["gradient_clip"] = float(bool(weight_quantizers(model.module)))
        return TrainingSettings(epochs=max(1, self.epochs), seed=context.seed, **shared)

    def _train(self, model: Compressed, context: Context) -> None:
        task, settings = _task(context), self._settings(model, context)
        before = None
        if task.validation is not None:
            before = evaluate(model.module, task, task.validation, processes=context.processes).score
            context.record({"event": "before training", "validation_score": before})

        def record(epoch: EpochRecord) -> None:
            context.record({"event": "epoch", **dataclasses.asdict(epoch)})
            for fault in scale_faults(model.module):  # no gradient leads back: the rest is lost
                _logger.warning("fine_tuning: after epoch %d %s", epoch.epoch, fault)

        with self._objective(model, context) as (objective, identity), _explained_divergence():
            result = train(
                model.module,
                task,
                settings,
                progress=context.progress,
                objective=objective,
                on_epoch=[record],
                store=context.store,
                identity=identity,
                device=context.device,
                processes=context.processes,
            )
        context.record({"event": "best epoch", "epoch": result.best_epoch, "validated": task.validation is not None})
        best = result.history[result.best_epoch - 1].validation_score
        if before is not None and best is not None and best < before:
            _logger.warning(
                "fine_tuning: no epoch scored as high on validation as the network before it (%.2f %%; best epoch %.2f "
                "%%): lower learning_rate, or train for longer",
                100 * before,
                100 * best,
            )
        if has_exits(model.module) and task.validation is not None:
            scores = evaluate(model.module.to(context.device), task, task.validation, processes=context.processes)
            context.record({"event": "exits on validation", "scores": list(scores.by_exit)})

    @contextmanager
    def _objective(self, model: Compressed, context: Context) -> Iterator[tuple[Objective, Mapping[str, str]]]:
        """Give the loss, and what it and the frozen modules make the result depend on."""
        kind = _task(context).kind
        hard = task_objective(kind, label_smoothing=self.label_smoothing, exits=self.exits.loss)
        facts = {"freeze": repr(self.freeze)} | ({"exits": repr(self.exits)} if has_exits(model.module) else {})
        if not isinstance(self.distill, Distillation):
            yield hard, facts
            return
        teacher = self._teacher(self.distill, model, context)
        facts |= {"distill": repr(self.distill), "teacher": digest(teacher)}
        with distilled(
            model.module,
            teacher,
            hard=hard,
            kind=kind,
            temperature=self.distill.temperature,
            weight=self.distill.weight,
            hints=self.distill.hints,
            hint_weight=self.distill.hint_weight,
        ) as objective:
            yield objective, facts

    def _teacher(self, distill: Distillation, model: Compressed, context: Context) -> nn.Module:
        """Return the network that teaches."""
        if distill.teacher is None:
            return context.teacher
        if distill.teacher.is_dir():
            if distill.teacher_model or distill.teacher_args:
                raise RecipeError(f"distill: leave out teacher_model and teacher_args; '{distill.teacher}' knows")
            return load_compressed(distill.teacher)[0]
        known = model.architecture
        name, arguments = distill.teacher_model or known.model, distill.teacher_args or known.model_args
        teacher = create_model(name, arguments)
        load_into(teacher, read_state(distill.teacher), source=distill.teacher)
        return teacher.eval()


@contextmanager
def _explained_divergence() -> Iterator[None]:
    """Say what a run keeps of a training that diverges."""
    try:
        yield
    except DivergenceError as error:
        epochs = len(error.result.history)
        kept = f"The run keeps its state after epoch {epochs}, from which it would diverge again" if epochs else "Then"
        raise TinymlError(f"fine_tuning: {error}. {kept}: start anew with --overwrite") from error


def _check_growth(module: nn.Module) -> None:
    """Refuse to freeze a layer whose attachment has still to reach what its pass promised."""
    growing = [
        each.parameter
        for each in attached(module)
        if not each.original.requires_grad and each.attachment.fault(each.weight)
    ]
    if growing:
        raise RecipeError(
            f"fine_tuning: freeze covers {', '.join(growing[:8])}, which a ramp still prunes while it is trained; take "
            "it out of freeze, or prune one-shot"
        )


def _task(context: Context) -> Task:
    if context.task is None:
        raise DataError("fine_tuning needs images to train on: give --data (a card, or 'digits')")
    return context.task
