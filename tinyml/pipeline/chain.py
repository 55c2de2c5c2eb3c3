"""What continuing an earlier run demands: passes that may follow its passes, and options that do not contradict it."""

import logging
from typing import assert_never

from tinyml.architecture import (
    Architecture,
    AttachExits,
    CaptureGraph,
    ClusterWeights,
    CutChannels,
    Edit,
    FoldBatchNorm,
    HalfPrecision,
    MaskWeights,
    QuantizeActivations,
    QuantizeStandalone,
    QuantizeWeights,
)
from tinyml.errors import RecipeError, UsageError
from tinyml.passes import PASSES
from tinyml.pipeline.job import Job
from tinyml.recipe_order import order_faults, unfinished_faults

logger = logging.getLogger(__name__)


def applied_passes(architecture: Architecture) -> tuple[str, ...]:
    """Return the names of the passes whose edits the architecture holds, in their order."""
    names = (_pass_of(edit) for edit in architecture.edits)
    return tuple(dict.fromkeys(name for name in names if name))


def _pass_of(edit: Edit) -> str:
    """Return the name of the pass that leaves this edit; "" where several do."""
    match edit:
        case MaskWeights():
            return "weight_pruning"
        case ClusterWeights():
            return "kmeans_quantization"
        case QuantizeWeights() | QuantizeActivations() | QuantizeStandalone():
            return "linear_quantization"
        case AttachExits():
            return "early_exit"
        case CutChannels():
            return "channel_pruning"
        case HalfPrecision():
            return "half_precision"
        case CaptureGraph() | FoldBatchNorm():
            return ""
    assert_never(edit)


def check_order(job: Job, architecture: Architecture) -> None:
    """Refuse passes that must not follow one another, those of the run that the job continues included.

    Raises:
        RecipeError: naming every pass that must not stand where it does.
    """
    applied = applied_passes(architecture)
    roles = [(name, PASSES[name].role) for name in applied]
    entries = [(entry.name, entry.settings.role) for entry in job.recipe.passes]
    faults = [f"passes.{index - len(applied)}: {text}" for index, text in order_faults([*roles, *entries])]
    unfinished = unfinished_faults([entry.settings for entry in job.recipe.passes])
    faults += [f"passes.{index}: {text}" for index, text in unfinished]
    if not applied and entries and entries[0][1] == "train":
        logger.warning("%s has nothing to recover from: it goes on training the network as it is", entries[0][0])
    if not faults:
        return
    source = f" ('{job.checkpoint}' went through {', '.join(applied)} already)" if applied else ""
    raise RecipeError(f"recipe '{job.recipe.name}'{source}: " + "; ".join(faults))


def check_options(job: Job, architecture: Architecture) -> None:
    """Refuse options that say something else than the run that the job continues.

    Raises:
        UsageError: naming the first.
    """
    if job.model and job.model != architecture.model:
        raise UsageError(f"--model {job.model}: '{job.checkpoint}' holds a {architecture.model}; leave --model out")
    if job.model_args and dict(job.model_args) != architecture.model_args:
        raise UsageError(
            f"--model-args {dict(job.model_args)}: '{job.checkpoint}' was made with {architecture.model_args}, and "
            "knows so; leave --model-args out"
        )
    if job.input_shape and job.input_shape != architecture.input_shape:
        raise UsageError(
            f"--input-shape {job.input_shape}: '{job.checkpoint}' takes {architecture.input_shape}, and knows so; "
            "leave --input-shape out"
        )
