"""A loss that a teacher has a part in, while a student is trained on the same inputs.

    total = (1 - weight) hard + weight soft + hint_weight mean over the hints

`hard` is the task's loss. `soft` is T^2 KL(teacher || student) of probabilities softened by T for classification
(Hinton, Vinyals and Dean 2015, arXiv:1503.02531), and the squared error to the teacher's outputs for reconstruction. A
hint compares what a module of the same name gives in both networks: the values where the shapes agree, attention maps
where only the channels differ, as after pruning (losses.py). Each exit of a student learns from the teacher so, and
none from the student's last; their losses are added with the weights that `hard` has for them.
"""

import math
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from functools import partial

import torch
from torch import Tensor, nn

from tinyml.data import Task
from tinyml.data.task import Kind
from tinyml.errors import ModelError, UsageError, did_you_mean
from tinyml.training.evaluation import device_of, evaluation_mode, is_channels_last, move, trial_outputs
from tinyml.training.losses import (
    Objective,
    OutputObjective,
    attention_error,
    distillation,
    hint_error,
    reconstruction_error,
)


@contextmanager
def distilled(
    student: nn.Module,
    teacher: nn.Module,
    *,
    hard: OutputObjective,
    kind: Kind,
    temperature: float,
    weight: float,
    hints: Sequence[str] = (),
    hint_weight: float = 1.0,
) -> Iterator[Objective]:
    """Give the objective of a student with a teacher, for as long as the context is open.

    The teacher is in evaluation mode then, and stands beside the student from the first step on; after it, it is as it
    was. Neither network's tensors are changed. See `check_teacher` for refusing early what does not fit.

    Args:
        student: What is trained, itself or inside the module that the objective is given.
        teacher: What its outputs should be like.
        hard: The task's own objective; it looks at the outputs of the one forward of a step.
        kind: Of the task.
        temperature: T, above 0; classification only.
        weight: The teacher's share (0-1) of the loss.
        hints: Glob patterns of names of modules that both networks call; the last call of a step counts.
        hint_weight: Factor, 0 or more, of the mean over all hints.

    Raises:
        UsageError: A number is outside its range, or the student is its own teacher. From the objective: a hint does
            not fit, see `check_teacher`.
    """
    _check_numbers(temperature, weight, hint_weight)
    if teacher is student:
        raise UsageError("the student is its own teacher: it would change at each step; give a copy of it")
    soft = partial(distillation, temperature=temperature) if kind == "classification" else reconstruction_error
    home = device_of(teacher)
    arrived: list[torch.device] = []

    def objective(module: nn.Module, inputs: Tensor, targets: Tensor) -> Tensor:
        if not arrived:  # only now the student is where it is trained
            arrived.append(device_of(student))
            move(teacher, device_of(student), channels_last=is_channels_last(student))
        with _watched(student, hints) as seen:
            outputs = module(inputs)
        with torch.no_grad(), _watched(teacher, hints) as taught:
            wanted = teacher(inputs)

        def loss(student_outputs: Tensor) -> Tensor:
            return (1 - weight) * hard.loss(student_outputs, inputs, targets) + weight * soft(student_outputs, wanted)

        total = hard.exits.total(outputs, loss, share=0.0)
        return total + hint_weight * _hint_loss(seen, taught, hints) if hints else total

    with evaluation_mode(teacher):
        try:
            yield objective
        finally:
            if arrived:
                move(teacher, home, channels_last=False)


def check_teacher(student: nn.Module, teacher: nn.Module, task: Task, hints: Sequence[str] = ()) -> None:
    """Raise unless a teacher gives outputs of its student's shape for a task, and every hint compares two features.

    Raises:
        ModelError: One of them does not take the task's inputs, or their outputs differ in shape.
        UsageError: A hint matches no module that the student calls, or one that the teacher does not call, or features
            that differ in more than their channels.
    """
    with ExitStack() as stack:
        seen, taught = (stack.enter_context(_watched(module, hints)) for module in (student, teacher))
        given, taught_outputs = trial_outputs(student, task, "student")[-1], trial_outputs(teacher, task, "teacher")
    if len(taught_outputs) > 1:
        raise ModelError(f"the teacher gives a tuple for the inputs of '{task.name}': choose one without exits")
    (wanted,) = taught_outputs
    if given.shape != wanted.shape:
        raise ModelError(
            f"the teacher's outputs have shape {_shape(wanted)} and the student's {_shape(given)}: a teacher needs the "
            "student's classes; choose one that was trained for them"
        )
    if not bool(torch.isfinite(wanted).all()):
        raise ModelError("the teacher's outputs for the number 0 are NaN or infinite: choose another teacher")
    if hints:
        _pairs(seen, taught, hints)


@dataclass(frozen=True)
class _Calls:
    """The names of the modules that were called, and what those gave whose names match a pattern."""

    names: set[str] = field(default_factory=set)
    features: dict[str, object] = field(default_factory=dict)


@contextmanager
def _watched(module: nn.Module, patterns: Sequence[str]) -> Iterator[_Calls]:
    """Note the calls of all modules inside a module while the context is open; without patterns, none."""
    calls = _Calls()

    def note(name: str, _: nn.Module, __: object, outputs: object) -> None:
        calls.names.add(name)
        if any(fnmatchcase(name, pattern) for pattern in patterns):
            calls.features[name] = outputs

    parts = module.named_modules() if patterns else ()
    named = [(name, part) for name, part in parts if name and ".parametrizations." not in f".{name}."]  # no features
    hooks = [part.register_forward_hook(partial(note, name)) for name, part in named]
    try:
        yield calls
    finally:
        for hook in hooks:
            hook.remove()


def _hint_loss(seen: _Calls, taught: _Calls, hints: Sequence[str]) -> Tensor:
    pairs = _pairs(seen, taught, hints)
    errors = [hint_error(s, t) if s.shape == t.shape else attention_error(s, t) for s, t in pairs]
    return torch.stack(errors).mean()


def _pairs(seen: _Calls, taught: _Calls, hints: Sequence[str]) -> list[tuple[Tensor, Tensor]]:
    """Return the features to compare, the student's and the teacher's, in the order of the student's calls."""
    for pattern in hints:
        if not any(fnmatchcase(name, pattern) for name in seen.features):
            near = did_you_mean(pattern, sorted(seen.names))
            raise UsageError(f"hint '{pattern}' matches no module that the student calls.{near}")
    return [_pair(name, features, taught) for name, features in seen.features.items()]


def _pair(name: str, ours: object, taught: _Calls) -> tuple[Tensor, Tensor]:
    if name not in taught.features:
        near = did_you_mean(name, sorted(taught.names))
        raise UsageError(f"hint '{name}': the teacher calls no module of that name.{near}")
    theirs = taught.features[name]
    if isinstance(ours, Tensor) and isinstance(theirs, Tensor) and _comparable(ours, theirs):
        return ours, theirs
    raise UsageError(
        f"hint '{name}': the student gives {_shape(ours)} and the teacher {_shape(theirs)}; allowed: the same shape, "
        "or (N, C, ...) of three dimensions or more that differ in the channels C alone. Choose another module"
    )


def _comparable(ours: Tensor, theirs: Tensor) -> bool:
    but_channels = [(*features.shape[:1], *features.shape[2:]) for features in (ours, theirs)]
    return ours.shape == theirs.shape or (ours.ndim == theirs.ndim >= 3 and but_channels[0] == but_channels[1])


def _shape(outputs: object) -> str:
    """Return "(N, 10)", or the type of what is no tensor."""
    if not isinstance(outputs, Tensor):
        return f"a {type(outputs).__name__}"
    return f"({', '.join(['N', *(str(size) for size in outputs.shape[1:])])})"


def _check_numbers(temperature: float, weight: float, hint_weight: float) -> None:
    faults = []
    if not (math.isfinite(temperature) and temperature > 0):
        faults.append(f"temperature is {temperature}, a number above 0 is needed")
    if not 0 <= weight <= 1:
        faults.append(f"weight is {weight}, a share of 0 to 1 is needed")
    if not (math.isfinite(hint_weight) and hint_weight >= 0):
        faults.append(f"hint_weight is {hint_weight}, 0 or more is needed")
    if faults:
        raise UsageError("the distillation is not usable: " + "; ".join(faults))
