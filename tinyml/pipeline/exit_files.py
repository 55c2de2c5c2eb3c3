"""The files of a network with exits: cut into stages, when to leave chosen on validation data, joined in one file."""

import json
import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final, final

import numpy as np
import onnx
from numpy.typing import NDArray
from pydantic import TypeAdapter

from tinyml.architecture import Architecture, AttachExits
from tinyml.data import Split, Task
from tinyml.errors import DataError
from tinyml.export.exits import exit_policy, join_stages, split_stages, stage_files
from tinyml.files import write_atomically
from tinyml.measure.exits import open_leaving_at
from tinyml.measure.inputs import network_inputs
from tinyml.measure.macs import count_macs, macs_by_exit
from tinyml.measure.network import read_network
from tinyml.numerics.exit_thresholds import ExitGoal
from tinyml.passes.early_exit import EarlyExit
from tinyml.passes.exit_choice import ExitChoice, choose_exits
from tinyml.pipeline.job import Job
from tinyml.pipeline.outcome import MODEL
from tinyml.progress import Progress
from tinyml.runtime.exit_policy import ExitPolicy
from tinyml.runtime.session import Session, StageSession, open_session, open_stage
from tinyml.runtime.staged import logits_at_exits
from tinyml.runtime.timer import time_interleaved
from tinyml.training import StateStore
from tinyml.training.evaluation import NonFiniteError
from tinyml.verification import Check
from tinyml.verification.check import outcome

logger = logging.getLogger(__name__)

STAGES: Final = "stages"
"""Folder of a run that holds the stages of a network with exits."""
CHOICE: Final = "exit_choice.json"
"""File of a run that says how thresholds were chosen: an `ExitChoice`."""
_TIMED: Final = 128
"""Validation examples, of which one after the other is timed."""
_BATCH: Final = 64


@final
@dataclass(frozen=True, kw_only=True)
class ExitFiles:
    """What is written of a network with exits.

    Attributes:
        files: contents by name: the one file, the stages, and the choice.
        choice: when examples leave, and what that comes to on validation data.
    """

    files: Mapping[str, bytes]
    choice: ExitChoice


def exit_goal(architecture: Architecture) -> ExitGoal | None:
    """Return what the exits of a network are to achieve; None for a network without exits."""
    return next((edit.goal for edit in architecture.edits if isinstance(edit, AttachExits)), None)


def check_exit_data(job: Job, architecture: Architecture) -> None:
    """Refuse exits without the data that thresholds are chosen on.

    Raises:
        DataError: there is none; the message says which.
    """
    attached = any(isinstance(entry.settings, EarlyExit) for entry in job.recipe.passes)
    if not attached and exit_goal(architecture) is None:
        return
    if job.task is None:
        raise DataError("when examples leave a network with exits is chosen on validation data: give --data")
    validation_of(job.task)


def validation_of(task: Task) -> Split:
    """Return the split that thresholds are chosen on.

    Raises:
        DataError: there is none; test data is not for this.
    """
    if task.validation is None:
        raise DataError(
            f"task '{task.name}' has no validation data, on which is chosen when examples leave a network with exits; "
            "name some in the data card (validation: 0.1)"
        )
    return task.validation


def make_exit_files(
    network: onnx.ModelProto,
    goal: ExitGoal,
    job: Job,
    *,
    baseline: Path,
    work: Path,
    store: StateStore,
    progress: Progress,
) -> ExitFiles:
    """Return the files of a network with exits whose thresholds reach the goal, as far as they can.

    Args:
        network: as `tinyml.export.to_onnx` writes it, with an output for each exit.
        goal: what the exits are to achieve.
        job: gives validation data, and the runtime's settings.
        baseline: the file of the uncompressed network.
        work: a folder for the file with which costs are counted.
        store: where measured costs are kept against a kill, so that the same thresholds are found again.
        progress: told of the timing.

    Raises:
        NonFiniteError: the network answers numbers on validation data of which no threshold can be chosen.
        TinymlError: the network cannot be cut at an exit.
    """
    stages = split_stages(network)
    whole_file = work / MODEL
    write_atomically(whole_file, _bytes(join_stages(stages, _nobody_leaves(goal, len(stages) - 1))))
    assert job.task is not None  # check_exit_data
    split = validation_of(job.task)
    if goal.goal == "keep_latency":
        costs, whole = _stored_times(store, whole_file, baseline, job, progress)
    else:
        costs = [float(each) for each in macs_by_exit(read_network(whole_file))]
        whole = float(count_macs(read_network(baseline, job.task.input_shape)).worst)
    sessions = [open_stage(_bytes(stage), provider=job.target.provider, threads=job.threads) for stage in stages]
    logits = validation_logits(sessions, open_session(whole_file), job.task)
    choice = choose_exits(goal, logits, split.y, costs=costs, whole=whole)
    if choice.doubt:
        logger.warning("early_exit: %s", choice.doubt)
    named = {f"{STAGES}/{name}": content for name, content in stage_files(stages, choice.policy).items()}
    one_file = _bytes(join_stages(stages, choice.policy))
    written = TypeAdapter(ExitChoice).dump_json(choice, indent=1)
    return ExitFiles(files={MODEL: one_file, **named, CHOICE: written + b"\n"}, choice=choice)


def read_choice(run: Path) -> ExitChoice | None:
    """Return how the thresholds of a run were chosen; None for a network without exits."""
    file = run / CHOICE
    return TypeAdapter(ExitChoice).validate_json(file.read_bytes()) if file.is_file() else None


def policy_of(run: Path) -> ExitPolicy | None:
    """Return when examples leave the file of a run; None for a network without exits."""
    return exit_policy(onnx.load(str(run / MODEL))) if stages_of(run) is not None else None


def stages_of(run: Path) -> Path | None:
    """Return the folder with the stages of a run; None for a network without exits."""
    return run / STAGES if (run / STAGES).is_dir() else None


def goal_checks(run: Path) -> tuple[Check, ...]:
    """Return the check of what exits were to save; nothing without exits, or where accuracy is their goal."""
    choice = read_choice(run)
    if choice is None or choice.goal.goal == "max_drop_points":
        return ()
    return (
        Check(
            name=f"exits: {choice.goal.goal}",
            value=f"{choice.kept:.3f} stays, the mean over {choice.examples:,} validation examples",
            bound=f"<= {choice.goal.budget:g}",
            outcome=outcome(choice.reached),
            explanation="Thresholds were chosen on validation data, on the exported stages."
            if choice.reached
            else "Even where all leave as early as they can, more stays: put the first exit earlier, or choose a "
            "cheaper head.",
        ),
    )


def validation_logits(stages: Sequence[StageSession], whole: Session, task: Task) -> NDArray[np.float32]:
    """Return what every exit answers on validation data, (exits + 1, N, classes); `whole` says what the file takes.

    Raises:
        DataError: there is no validation data, or it does not fit the file.
        NonFiniteError: the answers to an example are not all finite.
    """
    split = validation_of(task)
    batches = (split.x[start : start + _BATCH] for start in range(0, len(split), _BATCH))
    logits = np.concatenate([logits_at_exits(stages, network_inputs(whole, task, x)) for x in batches], axis=1)
    if broken := int((~np.isfinite(logits)).any(axis=(0, 2)).sum()):
        raise NonFiniteError(
            f"the exported network answers NaN or infinite numbers for {broken:,} of {len(split):,} validation "
            "examples: no thresholds can be chosen; float16 holds numbers up to 65,504: leave half_precision out"
        )
    return logits


def _nobody_leaves(goal: ExitGoal, exits: int) -> ExitPolicy:
    policy = ExitPolicy(rule=goal.rule, thresholds=(1.0,) * exits, temperatures=(1.0,) * exits)
    return ExitPolicy(rule=goal.rule, thresholds=policy.leaving_at(exits), temperatures=policy.temperatures)


def _stored_times(
    store: StateStore, file: Path, baseline: Path, job: Job, progress: Progress
) -> tuple[Sequence[float], float]:
    """Return the milliseconds of leaving at each exit, and those of the baseline; measured once in a run."""
    kept = store.load()
    if kept is None:
        kept = json.dumps(_times(file, baseline, job, progress)).encode()
        store.save(kept)
    *costs, whole = json.loads(kept)
    return costs, whole


def _times(file: Path, baseline: Path, job: Job, progress: Progress) -> list[float]:
    """Return the median milliseconds of leaving at each exit, then those of the baseline, of one interleaved run."""
    provider, threads, last = job.target.provider, job.threads, len(exit_policy(onnx.load(str(file))).thresholds)
    sessions = {
        str(index): open_leaving_at(file, index, provider=provider, threads=threads) for index in range(last + 1)
    }
    sessions["baseline"] = open_session(baseline, provider=provider, threads=threads)
    assert job.task is not None  # check_exit_data
    split = validation_of(job.task)
    rows = np.random.default_rng(job.seed).permutation(len(split))[:_TIMED]
    inputs = network_inputs(sessions["baseline"], job.task, split.x[rows])
    examples = [inputs[row : row + 1] for row in range(len(inputs))]
    calls = {
        name: lambda index, session=session: session.run(examples[index % len(examples)])
        for name, session in sessions.items()
    }
    timing = time_interleaved(calls, seed=job.seed, progress=progress)
    *costs, whole = (float(np.median(samples)) for samples in timing.samples_ms.values())
    return [*np.maximum.accumulate(costs).tolist(), whole]


def _bytes(model: onnx.ModelProto) -> bytes:
    content: bytes = model.SerializeToString(deterministic=True)
    return content
