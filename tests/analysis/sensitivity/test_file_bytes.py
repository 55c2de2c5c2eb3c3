"""The bytes that a scan predicts, beside those of the file that its recipe makes."""

from collections.abc import Callable
from dataclasses import replace

import pytest
import torch
import user_models
from random_task import random_context, random_task, trained, uncompressed
from torch import nn

from tinyml.analysis.sensitivity.bits import ByteBudget, choose_bits
from tinyml.analysis.sensitivity.changes import CHANGES
from tinyml.analysis.sensitivity.curves import LayerCurve, Sensitivity
from tinyml.analysis.sensitivity.file_bytes import check_quantizable, made_bytes, with_file_bytes
from tinyml.analysis.sensitivity.recipe import bit_recipe_of, quantization
from tinyml.analysis.sensitivity.scan import ScanSettings
from tinyml.analysis.sensitivity.units import Patterns, Unit
from tinyml.architecture import ClusterWeights, CodebookShape
from tinyml.errors import DataError, RecipeError, TargetError
from tinyml.export import to_onnx
from tinyml.passes import Compressed, Context

SHAPE = (3, 32, 32)
LEVELS = (8.0, 5.0, 4.0, 3.0, 2.0)


def unmeasured(pass_name: str, units: tuple[Unit, ...]) -> Sensitivity:
    """A scan of which nothing but its layers matters: fewer bits diverge more."""
    flat = tuple(1 / level for level in LEVELS)
    curves = [LayerCurve(name=u.name, size=u.size, levels=LEVELS, scores=(0.5,) * 5, divergences=flat) for u in units]
    return Sensitivity(
        model="net",
        pass_name=pass_name,
        quantity="bits",
        score="accuracy",
        unchanged=0.5,
        n=100,
        data="noise",
        curves=tuple(curves),
    )


def network(factory: Callable[[], nn.Module]) -> Compressed:
    torch.manual_seed(0)
    return uncompressed(trained(factory()), SHAPE, factory=f"user_models:{factory.__name__}")


def file_size(pass_name: str, levels: dict[str, float], model: Compressed, context: Context) -> int:
    step = quantization(pass_name, 8, {name: int(level) for name, level in levels.items()}, Patterns())
    exported = to_onnx(step.apply(model, context).module, input_shape=SHAPE, target=context.target)
    return len(exported.SerializeToString(deterministic=True))


@pytest.mark.slow
@pytest.mark.parametrize("pass_name", ["linear_quantization", "kmeans_quantization"])
@pytest.mark.parametrize("factory", [user_models.mixed, user_models.mobilenetv3_like])
def test_the_file_has_the_predicted_bytes(pass_name: str, factory: Callable[[], nn.Module]) -> None:
    check_predicted_bytes(pass_name, network(factory), random_context(SHAPE))


def test_weights_that_a_target_stores_as_int4_have_the_predicted_bytes() -> None:
    context = random_context(SHAPE)
    target = replace(context.target, weight_storage="int4")
    check_predicted_bytes("linear_quantization", network(user_models.mixed), replace(context, target=target))


def check_predicted_bytes(pass_name: str, model: Compressed, context: Context) -> None:
    units = CHANGES[pass_name].units(model.copy().module, SHAPE, Patterns()).units
    scan = with_file_bytes(unmeasured(pass_name, units), units, Patterns(), model, context)
    whole = choose_bits(scan, ByteBudget(most_bytes=10**8)).uniform
    choice = choose_bits(scan, ByteBudget(most_bytes=(whole[2].size_bytes + whole[8].size_bytes) // 2))
    found = file_size(pass_name, choice.levels, model, context)
    slack = 16 * len(units)  # short names have a digit more or less
    assert found == pytest.approx(choice.predicted.size_bytes, abs=slack)
    recipe = bit_recipe_of(pass_name, choice, Patterns())
    assert made_bytes(recipe, model, replace(context, seed=1)) == found  # the recipe's seed is 0


def test_what_the_pass_refuses_is_refused_before_the_scan() -> None:
    settings, context = ScanSettings(levels=LEVELS), random_context(SHAPE)
    model = network(user_models.mixed)
    with pytest.raises(TargetError, match="has no integer kernels"):
        check_quantizable("linear_quantization", settings, model, random_context(SHAPE, target="cuda"))
    bare = replace(random_task(SHAPE), train=None, test=random_task(SHAPE).train, fingerprint="")
    with pytest.raises(DataError, match="nothing to calibrate on"):
        check_quantizable("linear_quantization", settings, model, replace(context, task=bare))


def test_codebooks_are_refused() -> None:
    model, shape = network(user_models.mixed), CodebookShape(groups=1, centroids=4, keeps_zeros=False)
    clustered = ClusterWeights(modules={"head": shape}, training="mean", reassign_every=0).apply(model.copy().module)
    with pytest.raises(RecipeError, match="codebooks already"):
        check_quantizable(
            "linear_quantization",
            ScanSettings(levels=LEVELS),
            replace(model, module=clustered),
            random_context(SHAPE),
        )
