"""The other processes of a run: they take part in its trainings; everything else the first one does alone."""

from dataclasses import dataclass

from tinyml.checkpoint import compressed_files, compressed_from_files
from tinyml.passes import Compressed, Context
from tinyml.pipeline.outcome import Outcome
from tinyml.recipe import Recipe
from tinyml.training import Processes


@dataclass(frozen=True, kw_only=True)
class _Training:
    """Take part in the pass of this position in the recipe, on this model."""

    position: int
    weights: bytes
    architecture: bytes


def call_to_train(processes: Processes, position: int, model: Compressed) -> None:
    """Let the others begin the pass of this position on this model, as the first process does now."""
    if not processes.place.alone:
        weights, architecture = compressed_files(model.module, model.architecture)
        processes.tell(_Training(position=position, weights=weights, architecture=architecture))


def follow(recipe: Recipe, context: Context) -> Outcome:
    """Do what the first process calls for until the run is over, and return its outcome; nothing is written.

    Raises:
        ProcessError: The first process failed.
        TinymlError: A pass failed; in the first process too.
    """
    while True:
        order = context.processes.hear()
        if isinstance(order, Outcome):
            return order
        assert isinstance(order, _Training)
        module, architecture = compressed_from_files(order.weights, order.architecture)
        model = Compressed(module=module, architecture=architecture)
        recipe.passes[order.position].settings.apply(model, context)
