"""Checks that need more than the file: that a score was measured, its budget, and what saturation would cost."""

from pathlib import Path

import torch
from torch import nn

from tinyml.data import Task
from tinyml.measure.inputs import evaluation_split
from tinyml.measure.measurement import Measurements
from tinyml.numerics.saturation import SAFE_PAIR_SUM
from tinyml.pipeline.reference import evaluation_rows
from tinyml.verification.agreement import Reference
from tinyml.verification.check import Check, outcome
from tinyml.verification.portability import pair_sums
from tinyml.verification.trials import saturated_outputs
from tinyml.verification.verify import read_model

NOT_MEASURED = "not measured"


def score_checks(measurements: Measurements, kind: str | None, max_drop_points: float | None) -> tuple[Check, ...]:
    """Return the checks of the score: that there is one where data was given, and the accuracy budget of the recipe.

    Args:
        measurements: of "baseline" and "model".
        kind: of the task; None where no data was given.
        max_drop_points: of the recipe.
    """
    checks = (_measured_check(measurements, kind), accuracy_check(measurements, max_drop_points))
    return tuple(check for check in checks if check is not None)


def _measured_check(measurements: Measurements, kind: str | None) -> Check | None:
    """Return a failed check where a score should have been measured and could not be; None elsewhere."""
    if kind is None or {"accuracy", "auc"} & measurements["model"].keys():
        return None
    return Check(
        name="score",
        value=NOT_MEASURED,
        bound="a number",
        outcome="failed",
        explanation="The data gave no score of the files; history.jsonl says why.",
    )


def accuracy_check(measurements: Measurements, max_drop_points: float | None) -> Check | None:
    """Return the check of the accuracy budget, missed where no accuracy was measured; None where there is no budget."""
    if max_drop_points is None:
        return None
    found = [measurements[subject].get("accuracy") for subject in ("baseline", "model")]
    before, after = (entry.value if entry is not None else None for entry in found)
    if before is None or after is None:
        return Check(
            name="accuracy budget", value=NOT_MEASURED, bound=f"<= {max_drop_points:g}", outcome=outcome(False)
        )
    drop = 100 * (before - after)
    return Check(
        name="accuracy budget",
        value=f"{drop:+.2f} points lost",
        bound=f"<= {max_drop_points:g}",
        outcome=outcome(drop <= max_drop_points + 1e-9),
        explanation="Accuracy of the baseline file minus that of the file that ships, on the test split.",
    )


def saturation_check(path: Path, module: nn.Module, task: Task | None, reference: Reference) -> Check | None:
    """Return what a file beyond the static bound loses on x86 without VNNI, emulated; None for one within it.

    Args:
        path: the ONNX file.
        module: the trained model.
        task: gives the labels; without one, or without classes, nothing is emulated.
        reference: all that `reference_of` returns of this model and task.
    """
    beyond = any(pair.largest > SAFE_PAIR_SUM for pair in pair_sums(read_model(path).graph))
    if not beyond or task is None or not reference.classification:
        return None
    _, split = evaluation_split(task)
    labels = split.y[evaluation_rows(split)]
    inputs = torch.from_numpy(task.inputs(reference.inputs))  # float inputs are normalised already and stay as they are
    exact = reference.outputs.argmax(axis=-1) == labels
    policy = reference.exits.policy if reference.exits is not None else None
    saturated = saturated_outputs(module, inputs, policy).argmax(axis=-1) == labels
    return Check(
        name="on x86 without VNNI (emulated)",
        value=f"{100 * (saturated.mean() - exact.mean()):+.2f} points ({exact.mean():.2%} to {saturated.mean():.2%})",
        bound="",
        outcome="noted",
        explanation=f"Accuracy on {len(labels)} examples with the 16-bit saturation of that kernel emulated exactly.",
    )
