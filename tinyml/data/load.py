"""Finds the data that a user names: the shipped digits, a card, or a factory."""

from pathlib import Path

from tinyml.data.card import load_card
from tinyml.data.digits import load_digits
from tinyml.data.task import Task
from tinyml.errors import DataError, did_you_mean
from tinyml.factory import call_factory, find_factory

FORMS = "allowed: 'digits', the path of a data card (.yaml), or 'package.module:factory' returning a tinyml.data.Task"


def load_task(spec: str) -> Task:
    """Return the Task that `spec` names, with its data in memory.

    Args:
        spec: 'digits', the path of a data card (.yaml or .yml), or 'package.module:factory' returning a Task.

    Raises:
        DataError: where there is no such thing, or the data is wrong: all faults of a file together.
        MissingDependency: where image folders are wanted and pillow is not installed.
    """
    if spec == "digits":
        return load_digits()
    path = Path(spec)
    if path.suffix.lower() in (".yaml", ".yml"):
        return load_card(path)
    if path.exists():
        raise DataError(f"'{spec}' is not a data card; write a card (.yaml) that names it. {FORMS}.")
    if ":" in spec:
        return _task_of_factory(spec)
    raise DataError(f"There is no data '{spec}'; {FORMS}.{did_you_mean(spec, ['digits'])}")


def _task_of_factory(spec: str) -> Task:
    task = call_factory(find_factory(spec, error=DataError), {}, name=spec, error=DataError)
    if not isinstance(task, Task):
        raise DataError(f"'{spec}' returned a {type(task).__name__}; it must return a tinyml.data.Task.")
    return task
