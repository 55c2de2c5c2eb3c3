"""What a network is fed: a task's examples in the form that the file takes, or random numbers."""

from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from tinyml.data.split import Split
from tinyml.data.task import Task
from tinyml.errors import DataError, UsageError
from tinyml.runtime.one_by_one import takes_exits
from tinyml.runtime.session import Session
from tinyml.runtime.timer import TimerSettings

_STREAM: Final = 128
_USUAL: Final = TimerSettings()
EVERY_CALL: Final = _USUAL.rounds * _USUAL.block
"""Inputs for a stream of which the timer sees each once: as many as its rounds have calls."""


def network_inputs(session: Session, task: Task, x: NDArray[Any]) -> NDArray[Any]:
    """Return raw examples `x` of the task as the file takes them.

    A file with uint8 input carries its own normalisation and gets the pixels (N, H, W, C) as they are; any other gets
    `task.inputs(x)`, (N, C, H, W), in the file's type.

    Raises:
        DataError: the examples have another shape or type than the file takes.
    """
    if session.input_dtype == np.uint8:
        if x.dtype != np.uint8:
            raise DataError(f"{session.source} takes uint8 pixels; the task '{task.name}' holds {x.dtype}.")
        fed = np.ascontiguousarray(x)
    else:
        fed = task.inputs(x).astype(session.input_dtype, copy=False)
    _check_shape(session, task.name, fed.shape)
    return fed


def evaluation_split(task: Task) -> tuple[str, Split]:
    """Return the split that figures about the product come from, with its name: test, where there is one.

    Raises:
        DataError: the task has neither a test nor a validation split.
    """
    if task.test is not None:
        return "test", task.test
    if task.validation is not None:
        return "validation", task.validation
    raise DataError(f"The task '{task.name}' has neither a test nor a validation split to measure on.")


def input_stream(
    session: Session,
    *,
    task: Task | None,
    input_shape: tuple[int, ...],
    batch: int,
    seed: int,
    every_call: bool = False,
) -> list[NDArray[Any]]:
    """Return inputs to time a network on, each one batch: examples drawn from the task, else random numbers.

    Networks of the same task get the same examples for the same seed, each in the form that it takes.

    Args:
        session: the network.
        task: where the examples come from; random numbers without.
        input_shape: shape of one input without the batch, for dimensions that the file leaves open.
        batch: examples in one input.
        seed: of the draw.
        every_call: whether time depends on the example: as many as the timer has calls are drawn then, none twice
            where there are enough.

    Raises:
        UsageError: the file fixes another batch, or leaves a dimension open that `input_shape` does not give.
        DataError: the examples do not fit the file.
    """
    if session.batch not in (0, batch):
        cure = " Batches are what its stages are for (stages/, run_stages.py)." if takes_exits(session) else ""
        raise UsageError(
            f"{session.source} has a fixed batch of {session.batch}; batch {batch} cannot be measured.{cure}"
        )
    generator = np.random.default_rng(seed)
    if task is not None:
        _, split = evaluation_split(task)
        if every_call:
            rows = generator.permutation(len(split))[: min(EVERY_CALL * batch, len(split) // batch * batch)]
            rows = rows.reshape(-1, batch)
        else:
            rows = generator.choice(len(split), size=(min(_STREAM, max(1, len(split) // batch)), batch))
        return [network_inputs(session, task, split.x[row]) for row in rows]
    shape = (batch, *_open_dimensions_filled(session, input_shape))
    return [_random(session.input_dtype, shape, generator) for _ in range(EVERY_CALL if every_call else _STREAM)]


def _open_dimensions_filled(session: Session, input_shape: tuple[int, ...]) -> tuple[int, ...]:
    """Return the shape of one input without the batch: the file's, its open dimensions from `input_shape`."""
    sizes = session.input_shape[1:]
    fixed = tuple(size for size in sizes if isinstance(size, int))
    if len(fixed) == len(sizes):
        return fixed
    if len(input_shape) != len(sizes):
        raise UsageError(f"{session.source} takes {session.input_shape}; give --input-shape with {len(sizes)} sizes.")
    return tuple(size if isinstance(size, int) else given for size, given in zip(sizes, input_shape, strict=True))


def _random(dtype: np.dtype[Any], shape: tuple[int, ...], generator: np.random.Generator) -> NDArray[Any]:
    """Return standard normal numbers, or integers over the type's range up to 255."""
    if dtype.kind == "f":
        return generator.standard_normal(shape).astype(dtype)
    if dtype.kind == "b":
        return generator.integers(0, 2, shape).astype(dtype)
    information = np.iinfo(dtype)
    return generator.integers(max(information.min, -128), min(information.max, 255), shape, endpoint=True).astype(dtype)


def _check_shape(session: Session, task: str, shape: tuple[int, ...]) -> None:
    """Raise DataError where a shape does not fit the file's, the batch aside."""
    wanted = session.input_shape
    fits = len(wanted) == len(shape) and all(
        isinstance(want, str) or want == have for want, have in zip(wanted[1:], shape[1:], strict=True)
    )
    if not fits:
        raise DataError(f"{session.source} takes inputs {wanted}; the task '{task}' gives {shape}.")
