"""The job behind a verb that looks at a network and compresses nothing."""

import shlex
from pathlib import Path
from typing import TYPE_CHECKING

import click

from tinyml.yaml_syntax import JSON

if TYPE_CHECKING:
    from tinyml.data import Task
    from tinyml.pipeline import Job, Root


def analysis_job(
    name: str,
    checkpoint: str,
    model: str | None,
    model_args: dict[str, JSON],
    task: "Task",
    *,
    seed: int,
    threads: int,
    device: str,
    target: str = "cpu",
) -> "Job":
    """Return the job that loads the network and knows what a result depends on; its recipe, of that name, is empty."""
    from tinyml.pipeline import Job
    from tinyml.recipe import Recipe
    from tinyml.target import load_target

    return Job(
        checkpoint=None if checkpoint == "random" else Path(checkpoint),
        model=model or "",
        model_args=model_args,
        recipe=Recipe(name=name, seed=seed),
        target=load_target(target),
        task=task,
        threads=threads,
        device=device,
        command=shlex.join(["tinyml", *(click.get_current_context().obj or ())]),
    )


def load_and_tell(job: "Job") -> "Root":
    """Return the network that the job starts from; what was assumed while loading is printed as notes.

    Raises:
        Refused: it cannot be loaded, or does not fit the data.
    """
    from tinyml.cli.console import messages
    from tinyml.pipeline import load_root

    root = load_root(job)
    for note in root.notes:
        messages().print(f"note: {note}", markup=False)
    return root
