"""Checks that a model's outputs are what a task expects."""

from tinyml.data.task import Task
from tinyml.errors import ModelError


def check_outputs(task: Task, outputs_shape: tuple[int, ...]) -> None:
    """Do nothing where outputs of the given shape, the batch first, fit the task.

    Raises:
        ModelError: where a classifier's outputs are not (N, classes), or a reconstruction has not the inputs' shape.
    """
    wanted = (len(task.classes),) if task.kind == "classification" else task.input_shape
    given = tuple(outputs_shape[1:])
    if given == wanted:
        return
    if task.kind == "classification" and len(given) == 1:
        raise ModelError(
            f"The model has {given[0]} outputs and task '{task.name}' has {wanted[0]} classes; "
            f"""build the model with {wanted[0]} outputs (for the zoo: --model-args '{{"classes": {wanted[0]}}}')."""
        )
    raise ModelError(
        f"The model's outputs have shape (N, {_list(given)}); task '{task.name}' wants (N, {_list(wanted)})."
    )


def _list(shape: tuple[int, ...]) -> str:
    return ", ".join(str(size) for size in shape)
