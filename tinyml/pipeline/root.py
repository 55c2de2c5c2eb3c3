"""Where a job starts: the model with its weights, from a checkpoint file, a run directory, or nothing (random)."""

from dataclasses import dataclass
from pathlib import Path

import torch
from torch import nn

from tinyml.architecture import Architecture
from tinyml.checkpoint import load_compressed, load_into, read_state
from tinyml.errors import CheckpointError, UsageError
from tinyml.manifest import verify_manifest
from tinyml.models import create_model, find_model
from tinyml.passes import Compressed
from tinyml.pipeline.chain import check_options
from tinyml.pipeline.job import Job
from tinyml.pipeline.task_fit import check_task_shape, try_model

BASELINE_FOLDER = "baseline"
BASELINE = f"{BASELINE_FOLDER}/model.onnx"


@dataclass(frozen=True, kw_only=True)
class Root:
    """The start of a job.

    Attributes:
        compressed: the model with its weights, on the CPU, in eval mode.
        notes: what was undone or assumed while loading.
        teacher: the uncompressed network at the root of the chain; this one where the job starts a chain.
        baseline: folder with that root as an earlier run exported and saved it; None where the job starts a chain.
    """

    compressed: Compressed
    notes: tuple[str, ...]
    teacher: nn.Module
    baseline: Path | None

    @property
    def input_shape(self) -> tuple[int, ...]:
        """Shape of one input without the batch."""
        return self.compressed.architecture.input_shape


def load_root(job: Job) -> Root:
    """Return the model that the job starts from, tried on one batch.

    Raises:
        CheckpointError: the checkpoint is unreadable or does not fit.
        ModelError: the model is unknown, or cannot take the inputs or does not give the task's outputs.
        UsageError: an option is missing, or contradicts the run directory.
        DataError: the data has another shape than the run directory takes.
    """
    if job.checkpoint is not None and job.checkpoint.is_dir():
        return _from_run(job, job.checkpoint)
    if not job.model:
        raise UsageError("--model is needed: a zoo name (tinyml models) or package.module:factory")
    architecture = Architecture(model=job.model, model_args=dict(job.model_args), input_shape=_input_shape(job))
    notes: tuple[str, ...] = ()
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(job.seed)
        module = create_model(job.model, job.model_args)
    if job.checkpoint is None:
        notes = (f"random weights, seed {job.seed}: the accuracy means nothing",)
    else:
        state = read_state(job.checkpoint)
        notes = (*state.notes, *load_into(module, state, source=job.checkpoint))
    try_model(module, architecture.input_shape, job.task)
    compressed = Compressed(module=module, architecture=architecture)
    return Root(compressed=compressed, notes=notes, teacher=module, baseline=None)


def _from_run(job: Job, directory: Path) -> Root:
    """Continue a chain: the model of an earlier run, compared with the root of that chain."""
    problems = verify_manifest(directory)
    if problems:
        raise CheckpointError(f"'{directory}' is not a sound run directory: {problems[0]}")
    module, architecture = load_compressed(directory)
    check_options(job, architecture)
    check_task_shape(directory, architecture.input_shape, job.task)
    try_model(module, architecture.input_shape, job.task)
    baseline = directory / BASELINE_FOLDER
    return Root(
        compressed=Compressed(module=module, architecture=architecture),
        notes=(f"continues the run '{directory.name}', whose baseline it keeps",),
        teacher=load_compressed(baseline)[0],
        baseline=baseline,
    )


def _input_shape(job: Job) -> tuple[int, ...]:
    known = job.task.input_shape if job.task is not None else find_model(job.model).input_shape
    given = job.input_shape or known
    if not given:
        raise UsageError(f"the input shape of '{job.model}' is unknown: give --data, or --input-shape such as 3,32,32")
    if job.task is not None and job.task.input_shape != given:
        raise UsageError(f"--input-shape {given} is not the shape of the data, {job.task.input_shape}; leave it out")
    return given
