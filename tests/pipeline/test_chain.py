"""What continuing an earlier run demands."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from tinyml.architecture import (
    Architecture,
    CaptureGraph,
    CutChannels,
    HalfPrecision,
    MaskWeights,
    QuantizeStandalone,
    QuantizeWeights,
)
from tinyml.data import Task
from tinyml.errors import RecipeError
from tinyml.passes.weight_pruning import WeightPruning
from tinyml.pipeline import Job, compress
from tinyml.pipeline.chain import applied_passes
from tinyml.pipeline.prepare import prepare
from tinyml.recipe import PassEntry, load_recipe
from tinyml.target import load_target

WEIGHTS = QuantizeWeights(modules=("fc",), q_min=-64, q_max=64)
MASKS = MaskWeights(modules=("fc",), structure="unstructured", ramp=0.0)
CUT = CutChannels(shapes={"fc.weight": (4, 4)})
INPUTS = QuantizeStandalone(modules=("fc",), q_min=0, q_max=255)


@pytest.mark.parametrize(
    ("edits", "names"),
    [
        pytest.param((), (), id="a run without passes"),
        pytest.param((CaptureGraph(),), (), id="a graph alone"),
        pytest.param((CaptureGraph(), WEIGHTS, INPUTS), ("linear_quantization",), id="int8"),
        pytest.param((CUT, CUT, MASKS), ("channel_pruning", "weight_pruning"), id="narrow and sparse"),
        pytest.param((MASKS, CaptureGraph(), WEIGHTS), ("weight_pruning", "linear_quantization"), id="sparse int8"),
        pytest.param((CaptureGraph(), HalfPrecision()), ("half_precision",), id="fp16"),
    ],
)
def test_the_edits_tell_which_passes_were_applied(edits, names: tuple[str, ...]) -> None:
    architecture = Architecture(model="lenet-digits", input_shape=(1, 8, 8), edits=edits)
    assert applied_passes(architecture) == names


@pytest.fixture(scope="session")
def fp16_run(once: Callable[..., Path], digits_checkpoint: Path, digits: Task) -> Path:
    job = Job(
        checkpoint=digits_checkpoint,
        model="lenet-digits",
        recipe=load_recipe("fp16"),
        target=load_target("cpu"),
        task=digits,
    )
    return once("fp16", lambda path: compress(job, path))


@pytest.mark.parametrize(
    ("first", "recipe", "message"),
    [
        pytest.param("int8_run", "int8", "the weights are codes already", id="int8 after int8"),
        pytest.param("int8_run", "fp16", "the weights are codes already", id="fp16 after int8"),
        pytest.param("fp16_run", "int8", "half_precision is the last pass of a recipe", id="int8 after fp16"),
        pytest.param("fp16_run", "fp16", "nothing comes after it", id="fp16 after fp16"),
    ],
)
def test_a_pass_that_must_not_follow_those_of_the_run_directory_is_refused(
    job, request, first, recipe, message
) -> None:
    run = request.getfixturevalue(first)
    with pytest.raises(RecipeError, match=rf"went through \w+ already\): passes\.0: .*{message}"):
        prepare(job(recipe, checkpoint=run, model="", target=load_target("x86-avx2")))


@pytest.mark.parametrize("first", ["int8_run", "fp16_run"])
def test_a_recipe_without_passes_may_follow_anything(job, request, first: str) -> None:
    assert prepare(job("baseline", checkpoint=request.getfixturevalue(first), model="")).baseline is not None


def test_training_with_nothing_to_recover_from_is_said(job, digits_checkpoint, int8_run, caplog) -> None:
    prepare(job("finetune", checkpoint=digits_checkpoint))
    assert "fine_tuning has nothing to recover from" in caplog.text


def test_a_ramp_without_a_training_is_refused_also_where_no_file_was_read(job, digits_checkpoint: Path) -> None:
    entry = PassEntry(name="weight_pruning", settings=WeightPruning(schedule="cubic"))
    wanted = job("baseline", checkpoint=digits_checkpoint)
    with pytest.raises(RecipeError, match=r"passes\.0: weight_pruning prunes on a cubic ramp .*: put one after it"):
        prepare(replace(wanted, recipe=replace(wanted.recipe, passes=(entry,))))
