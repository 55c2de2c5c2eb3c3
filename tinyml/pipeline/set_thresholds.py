"""A copy of a finished network with exits that leaves earlier or later."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import final

import numpy as np

from tinyml.data import Task
from tinyml.errors import CheckpointError, TargetError
from tinyml.export.exits import exit_policy, set_thresholds, stage_files
from tinyml.files import explained, write_atomically
from tinyml.measure.network import find_onnx
from tinyml.passes.exit_choice import choose_exits
from tinyml.pipeline.exit_files import STAGES, read_choice, stages_of, validation_logits, validation_of
from tinyml.pipeline.outcome import MODEL
from tinyml.runtime.exit_policy import ExitPolicy
from tinyml.runtime.exits_file import EXITS_NAME, read_exits
from tinyml.runtime.session import open_session, open_stage
from tinyml.verification.verify import read_model


@final
@dataclass(frozen=True, kw_only=True)
class ChangedExits:
    """What is to be written: contents by name, and when examples leave before and after."""

    files: Mapping[str, bytes]
    before: ExitPolicy
    after: ExitPolicy


def changed_exits(source: Path, thresholds: Mapping[int, float], *, with_stages: bool) -> ChangedExits:
    """Return the files of a network with exits with these thresholds, by exit from 0 on; the others keep theirs.

    Args:
        source: a run directory, or its one file.
        thresholds: by exit.
        with_stages: whether its stages are wanted beside the one file; only a run directory has them.

    Raises:
        CheckpointError: the source is missing or damaged, or has no stages.
        TargetError: it has no exits, or not these.
        RecipeError: a threshold is out of the rule's range.
    """
    file = find_onnx(source)
    model = read_model(file)
    try:
        changed = set_thresholds(model, thresholds)
    except TargetError as error:
        raise TargetError(f"'{file}': {error}") from error
    files = {MODEL: changed.SerializeToString(deterministic=True)}
    after = exit_policy(changed)
    if with_stages:
        stages = stages_of(source)
        if stages is None:
            raise CheckpointError(
                f"'{source}' has no {STAGES}: give the run directory, or -o a file that ends in .onnx"
            )
        models = [read_model(stages / name) for name in read_exits(stages / EXITS_NAME).stages]
        files |= {f"{STAGES}/{name}": content for name, content in stage_files(models, after).items()}
    return ChangedExits(files=files, before=exit_policy(model), after=after)


def thresholds_for(run: Path, max_drop_points: float, task: Task) -> dict[int, float]:
    """Return thresholds by exit that lose at most so many points (0-100), chosen on validation data as a run's own are.

    Args:
        run: a run directory.
        max_drop_points: of accuracy, to the network's own answer.
        task: gives the validation data.

    Raises:
        CheckpointError: the run is missing, damaged, or has no exits.
        DataError: there is no validation data, or it does not fit.
        NonFiniteError: an answer is not finite.
    """
    choice, stages = read_choice(run), stages_of(run)
    if choice is None or stages is None:
        raise CheckpointError(
            f"'{run}' is no run directory of a network with exits: only its stages tell what other thresholds come to"
        )
    sessions = [open_stage(stages / name) for name in read_exits(stages / EXITS_NAME).stages]
    logits = validation_logits(sessions, open_session(run / MODEL), task)
    for at_exit, temperature in zip(logits[:-1], choice.policy.temperatures, strict=True):
        at_exit /= np.float32(temperature)  # the file keeps them
    goal = replace(choice.goal, goal="max_drop_points", budget=max_drop_points, temperature_scaling=False)
    found = choose_exits(goal, logits, validation_of(task).y, costs=choice.costs, whole=choice.whole)
    return dict(enumerate(found.policy.thresholds))


def write_files(folder: Path, files: Mapping[str, bytes]) -> None:
    """Write files below a folder, which is made; each is whole or not there.

    Raises:
        OutputError, TinymlError: one cannot be written.
    """
    for name, content in files.items():
        path = folder / name
        with explained(path):
            path.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(path, content)
