"""Verify again what was made before: a sealed run directory, or any ONNX file."""

import logging
import math
from collections.abc import Mapping
from pathlib import Path

import numpy as np
from pydantic import JsonValue

from tinyml.checkpoint import load_compressed
from tinyml.data import Task, check_outputs
from tinyml.errors import CheckpointError, DataError
from tinyml.manifest import MANIFEST_NAME, read_manifest, verify_manifest
from tinyml.measure.inputs import evaluation_split
from tinyml.pipeline.outcome import MODEL
from tinyml.pipeline.reference import answers, evaluation_rows
from tinyml.recipe import load_recipe
from tinyml.runtime.session import open_session
from tinyml.target import Target, parse_target
from tinyml.verification import Check, Verification, verify_file
from tinyml.verification.agreement import AGREEMENT, Reference
from tinyml.verification.check import outcome
from tinyml.verification.verify import precision_of, read_model

logger = logging.getLogger(__name__)


def verify_subject(
    subject: Path, *, task: Task | None = None, target: Target | None = None, threads: int = 1
) -> Verification:
    """Return the checks of a run directory or an ONNX file.

    Args:
        subject: the directory or file.
        task: gives up to 1,000 test inputs; without it a run is checked on the inputs in reference.npz.
        target: demands what this target needs; None for the run's own.
        threads: of every session.

    Raises:
        CheckpointError: the subject is missing or unreadable.
        DataError: the task does not fit the run.
    """
    if not subject.is_dir():
        if task is not None:
            logger.warning("'%s' brings no trained model to compare with: the data is not used", subject)
        return verify_file(subject, reference=None, target=target, threads=threads)
    if not (subject / MANIFEST_NAME).is_file():
        raise CheckpointError(
            f"'{subject}' is no finished run directory: it has no {MANIFEST_NAME}; give one, or an ONNX file"
        )
    problems = verify_manifest(subject)
    hashes = Check(
        name="hashes of all files",
        value=problems[0] if problems else "as sealed",
        bound="as sealed",
        outcome=outcome(not problems),
        explanation=f"{len(problems)} differences from manifest.json." if problems else "sha256 of every file.",
    )
    if problems:
        return Verification(checks=(hashes,))
    fields = read_manifest(subject).fields
    made_for = target or parse_target(str(fields["target"]), f"{subject / MANIFEST_NAME}, target")
    bound = load_recipe(str(subject / "recipe.yaml")).gates.agreement
    if task is not None:
        reference = _from_task(subject, task)
    else:
        reference = _stored(subject, fields)
        bound = _bound_of_few(subject, len(reference.inputs), bound)
    verification = verify_file(subject / MODEL, reference=reference, target=made_for, agreement=bound, threads=threads)
    return Verification(checks=(hashes, *verification.checks))


def _stored(run: Path, fields: Mapping[str, JsonValue]) -> Reference:
    """Return the few inputs and answers that the run kept; a run without data kept random ones."""
    kind = fields.get("task")
    with np.load(run / "reference.npz", allow_pickle=False) as file:
        return Reference(
            inputs=file["input"],
            outputs=file["output"],
            real=kind is not None,
            classification=kind == "classification",
        )


def _bound_of_few(run: Path, inputs: int, bound: float | None) -> float:
    """Return the agreement to demand on a few inputs: one of 16 may differ where 99 % of 1,000 had to agree."""
    share = AGREEMENT[precision_of(read_model(run / MODEL))] if bound is None else bound
    return math.floor(share * inputs) / inputs


def _from_task(run: Path, task: Task) -> Reference:
    """Return test inputs with the answers of the run's own trained model, rebuilt."""
    module, architecture = load_compressed(run)
    if architecture.input_shape != task.input_shape:
        raise DataError(
            f"'{run}' takes inputs {architecture.input_shape}; the task '{task.name}' gives {task.input_shape}"
        )
    _, split = evaluation_split(task)
    raw = np.ascontiguousarray(split.x[evaluation_rows(split)])
    normalised = task.inputs(raw)
    outputs = answers(module, normalised)
    check_outputs(task, outputs.shape)
    pixels = open_session(run / MODEL).input_dtype == np.uint8
    return Reference(
        inputs=raw if pixels else normalised, outputs=outputs, real=True, classification=task.kind == "classification"
    )
