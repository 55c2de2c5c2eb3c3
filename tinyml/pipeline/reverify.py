"""Verify again what was made before: a sealed run directory, or any ONNX file."""

import logging
import math
from collections.abc import Mapping
from pathlib import Path

import numpy as np
from pydantic import JsonValue

from tinyml.checkpoint import load_compressed
from tinyml.data import Task
from tinyml.errors import CheckpointError
from tinyml.manifest import MANIFEST_NAME, read_manifest, verify_manifest
from tinyml.measure.network import find_onnx
from tinyml.pipeline.exit_files import goal_checks, policy_of, stages_of
from tinyml.pipeline.gates import score_checks
from tinyml.pipeline.outcome import MODEL, read_outcome
from tinyml.pipeline.reference import VERIFY_INPUTS, reference_of
from tinyml.pipeline.task_fit import check_task_shape, try_model
from tinyml.recipe import load_gates
from tinyml.runtime.session import open_session
from tinyml.target import Target, parse_target
from tinyml.verification import Check, Verification, verify_file
from tinyml.verification.agreement import AGREEMENT, Reference
from tinyml.verification.check import outcome
from tinyml.verification.exits import SAME_EXIT, ExitAnswers
from tinyml.verification.trials import THREE_RUNS
from tinyml.verification.verify import precision_of, read_model

logger = logging.getLogger(__name__)


def verify_subject(
    subject: Path,
    *,
    task: Task | None = None,
    target: Target | None = None,
    threads: int = 1,
    images: int = VERIFY_INPUTS,
) -> Verification:
    """Return the checks of a run directory or an ONNX file.

    Args:
        subject: the directory or file.
        task: gives test inputs; without it a run is checked on the inputs in reference.npz.
        target: demands what this target needs; None for the run's own.
        threads: of every session.
        images: so many test inputs at most.

    Raises:
        CheckpointError: the subject is missing or unreadable.
        DataError, ModelError: the task does not fit the run.
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
    find_onnx(subject)  # what another verb sealed, such as a scan, holds none
    return Verification(checks=(hashes, *_checks_of_run(subject, task, target, threads, images)))


def _checks_of_run(run: Path, task: Task | None, target: Target | None, threads: int, images: int) -> tuple[Check, ...]:
    """Return the checks of the file in a sound run, and of the score that was sealed with it."""
    fields = read_manifest(run).fields
    made_for = target or parse_target(str(fields["target"]), f"{run / MANIFEST_NAME}, target")
    gates = load_gates(run / "recipe.yaml")
    reference = _from_task(run, task, images) if task is not None else _stored(run, fields)
    agreement, same_runs, same_exits = gates.agreement, THREE_RUNS, SAME_EXIT
    precision = precision_of(read_model(run / MODEL))
    if task is None and precision != "float32":  # a float32 file answers as its model does: nothing to allow for
        few = len(reference.inputs)
        agreement = _few(AGREEMENT[precision] if agreement is None else agreement, few)
        same_runs, same_exits = _few(same_runs, few), _few(same_exits, few)
    verification = verify_file(
        run / MODEL,
        reference=reference,
        target=made_for,
        agreement=agreement,
        same_runs=same_runs,
        same_exits=same_exits,
        stages=stages_of(run),
        threads=threads,
    )
    kind = None if fields.get("task") is None else str(fields["task"])
    scores = score_checks(read_outcome(run).measurements, kind, gates.max_drop_points)
    return (*verification.checks, *scores, *goal_checks(run))


def _stored(run: Path, fields: Mapping[str, JsonValue]) -> Reference:
    """Return the few inputs and answers that the run kept; a run without data kept random ones."""
    kind, policy = fields.get("task"), policy_of(run)
    with np.load(run / "reference.npz", allow_pickle=False) as file:
        exits = None if policy is None else ExitAnswers(policy=policy, logits=file["exit_logits"])
        return Reference(
            inputs=file["input"],
            outputs=file["output"],
            real=kind is not None,
            classification=kind == "classification",
            exits=exits,
        )


def _few(share: float, inputs: int) -> float:
    """Return the share to demand of a few inputs: one of 16 may differ where 99 % of 1,000 had to agree."""
    return math.floor(share * inputs) / inputs


def _from_task(run: Path, task: Task, images: int) -> Reference:
    """Return test inputs with the answers of the run's own trained model, rebuilt."""
    module, architecture = load_compressed(run)
    check_task_shape(run, architecture.input_shape, task)
    try_model(module, architecture.input_shape, task)
    pixels = open_session(run / MODEL).input_dtype == np.uint8
    shape, policy = architecture.input_shape, policy_of(run)
    return reference_of(module, task, pixels=pixels, input_shape=shape, images=images, policy=policy)
