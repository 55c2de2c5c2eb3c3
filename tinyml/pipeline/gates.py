"""Checks that need more than the file: the accuracy budget, and what saturation would cost on other CPUs."""

from pathlib import Path

import numpy as np
import torch
from torch import nn

from tinyml.measure.inputs import evaluation_split
from tinyml.measure.measurement import Measurements
from tinyml.numerics.saturation import SAFE_PAIR_SUM
from tinyml.pipeline.job import Job
from tinyml.pipeline.reference import answers, evaluation_rows
from tinyml.verification.check import Check, outcome
from tinyml.verification.portability import pair_sums
from tinyml.verification.trials import saturated_outputs
from tinyml.verification.verify import read_model


def accuracy_check(measurements: Measurements, max_drop_points: float | None) -> Check | None:
    """Return the check of the accuracy budget; None where the recipe sets none."""
    if max_drop_points is None:
        return None
    before, after = (measurements[subject]["accuracy"].value for subject in ("baseline", "model"))
    drop = 100 * (before - after)
    return Check(
        name="accuracy budget",
        value=f"{drop:+.2f} points lost",
        bound=f"<= {max_drop_points:g}",
        outcome=outcome(drop <= max_drop_points + 1e-9),
        explanation="Accuracy of the baseline file minus that of the file that ships, on the test split.",
    )


def saturation_check(path: Path, module: nn.Module, job: Job) -> Check | None:
    """Return what a file beyond the static bound loses on x86 without VNNI, emulated; None for one within it."""
    beyond = any(pair.largest > SAFE_PAIR_SUM for pair in pair_sums(read_model(path).graph))
    if not beyond or job.task is None or job.task.kind != "classification":
        return None
    _, split = evaluation_split(job.task)
    rows = evaluation_rows(split)
    inputs = job.task.inputs(np.ascontiguousarray(split.x[rows]))
    exact = answers(module, inputs).argmax(axis=-1) == split.y[rows]
    saturated = saturated_outputs(module, torch.from_numpy(inputs)).argmax(axis=-1) == split.y[rows]
    return Check(
        name="on x86 without VNNI (emulated)",
        value=f"{100 * (saturated.mean() - exact.mean()):+.2f} points ({exact.mean():.2%} to {saturated.mean():.2%})",
        bound="",
        outcome="noted",
        explanation=f"Accuracy on {len(rows)} examples with the 16-bit saturation of that kernel emulated exactly.",
    )
