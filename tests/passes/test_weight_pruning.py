from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
import user_models
from pydantic import TypeAdapter, ValidationError
from random_task import quantized, random_context, random_task, uncompressed
from small_network import SMALL, small
from torch import nn

from tinyml.architecture import build
from tinyml.errors import RecipeError, TinymlError
from tinyml.layers.attachment import advance, attachment_faults
from tinyml.layers.mask import masks
from tinyml.numerics.sparsity import NOfM
from tinyml.passes.base import Compressed
from tinyml.passes.layer_patterns import LayerSparsity
from tinyml.passes.weight_pruning import WeightPruning
from tinyml.recipe import load_recipe

IMAGE = (3, 32, 32)


def apply(model: nn.Module | Compressed, *, shape: tuple[int, ...] = IMAGE, factory: str = "mixed", **settings):
    step, context = WeightPruning(**settings), random_context(shape)
    before = model if isinstance(model, Compressed) else uncompressed(model, shape, factory=f"user_models:{factory}")
    step.requires(before, context)
    after = step.apply(before, context)
    step.ensures(before, after)
    return after


def zeros_by_layer(model: Compressed) -> dict[str, int]:
    return {name: int((model.module.get_submodule(name).weight == 0).sum()) for name, _ in masks(model.module)}


def numel_by_layer(model: Compressed) -> dict[str, int]:
    return {name: mask.mask.numel() for name, mask in masks(model.module)}


def test_uniform_gives_every_layer_its_rounded_share():
    assert zeros_by_layer(apply(small(), shape=SMALL, sparsity=0.7, scope="uniform")) == {"0": 76, "3": 101, "5": 448}


def test_global_prunes_below_one_threshold():
    after = apply(small(), shape=SMALL, sparsity=0.7)
    layers = [after.module.get_submodule(name) for name in "035"]
    kept = torch.cat([layer.weight[layer.weight != 0].abs() for layer in layers])
    pruned = torch.cat([layer.parametrizations.weight.original[layer.weight == 0].abs() for layer in layers])
    assert len(pruned) == round(0.7 * 892)
    assert pruned.max() <= kept.min()


def test_global_leaves_a_layer_as_many_weights_as_it_has_outputs():
    model = small()
    with torch.no_grad():
        model[3].weight.mul_(1e-6)
    after = apply(model, shape=SMALL, sparsity=0.7)
    assert zeros_by_layer(after)["3"] == 144 - 4
    assert sum(zeros_by_layer(after).values()) == round(0.7 * 892)


def test_a_layer_with_a_sparsity_of_its_own_is_left_out_of_the_threshold():
    layers = {"*": LayerSparsity(sparsity=0.25), "5": LayerSparsity(sparsity=0.9), "0": LayerSparsity(sparsity=0)}
    after = apply(small(), shape=SMALL, sparsity=0.5, layers=layers)
    assert zeros_by_layer(after) == {"0": 0, "3": 36, "5": 576}
    after = apply(small(), shape=SMALL, sparsity=0.5, layers={"5": LayerSparsity(sparsity=0.9)})
    assert zeros_by_layer(after)["5"] == 576
    assert sum(zeros_by_layer(after).values()) == 576 + (108 + 144) // 2


def test_n_of_m_prunes_the_layers_that_it_divides_and_lists_the_others():
    after = apply(small(), shape=SMALL, structure=NOfM(keep=1, of=4), sparsity=0.75)
    assert zeros_by_layer(after) == {"3": 108, "5": 480}
    assert [(item.module, item.reason[:16]) for item in after.left_alone] == [("0", "1:4 does not fit")]
    assert after.module.get_submodule("3").weight.count_nonzero(dim=1).unique().tolist() == [1]


def test_patterns_choose_the_layers_and_the_others_are_listed():
    after = apply(small(), shape=SMALL, sparsity=0.7, include=("[03]",), exclude=("0",))
    assert zeros_by_layer(after) == {"3": round(0.7 * 144)}
    assert {item.module: item.reason for item in after.left_alone} == {
        "0": "in the recipe's exclude",
        "5": "not in the recipe's include",
    }


def test_a_cubic_schedule_changes_nothing_before_the_training():
    before = small()
    after = apply(before, shape=SMALL, sparsity=0.7, schedule="cubic")
    x = torch.from_numpy(random_task(SMALL).train.x[:4])
    assert torch.equal(after.module(x), before(x))
    assert after.architecture.edits[0].ramp == 0.75


def test_pruning_again_starts_from_the_zeros_that_are_there():
    first = apply(user_models.mixed(), sparsity=0.4)
    second = apply(first, sparsity=0.7)
    for name in zeros_by_layer(first):
        earlier, later = (model.module.get_submodule(name).weight != 0 for model in (first, second))
        assert bool((later <= earlier).all())
    assert sum(zeros_by_layer(second).values()) == round(0.7 * sum(numel_by_layer(second).values()))
    rebuilt = build(second.architecture)
    rebuilt.load_state_dict(second.module.state_dict(), strict=True)
    assert zeros_by_layer(replace(second, module=rebuilt)) == zeros_by_layer(second)


@pytest.mark.parametrize("schedule", ["one-shot", "cubic"])
def test_n_of_m_brings_no_weight_back_that_was_pruned_before(schedule: str):
    first = apply(small(), shape=SMALL, sparsity=0.4, scope="uniform", include=("3", "5"))
    second = apply(first, shape=SMALL, structure=NOfM(keep=2, of=4), schedule=schedule)
    advance(second.module, 1.0)
    assert attachment_faults(second.module) == []
    for name in "35":
        earlier, later = (model.module.get_submodule(name).weight != 0 for model in (first, second))
        assert bool((later <= earlier).all())
        assert zeros_by_layer(second)[name] > earlier.numel() // 2  # some groups had three zeros
    rebuilt = small()
    for edit in second.architecture.edits:
        edit.apply(rebuilt)
    rebuilt.load_state_dict(second.module.state_dict(), strict=True)
    assert attachment_faults(rebuilt) == []


def test_n_of_m_after_a_higher_sparsity_adds_what_is_missing():
    first = apply(small(), shape=SMALL, sparsity=0.9, scope="uniform", include=("5",))
    second = apply(first, shape=SMALL, structure=NOfM(keep=2, of=4), include=("5",))
    groups = first.module.get_submodule("5").weight.reshape(-1, 4).count_nonzero(dim=1)
    assert zeros_by_layer(second)["5"] == 576 + int((groups - 2).clamp_min(0).sum())


def test_a_cubic_schedule_after_pruning_starts_where_that_ended():
    first = apply(small(), shape=SMALL, sparsity=0.4, scope="uniform")
    second = apply(first, shape=SMALL, sparsity=0.7, scope="uniform", schedule="cubic")
    assert zeros_by_layer(second) == zeros_by_layer(first)


@pytest.mark.parametrize("scope", ["uniform", "global"])
def test_pruning_again_to_fewer_zeros_is_refused(scope):
    first = apply(small(), shape=SMALL, sparsity=0.7, scope="uniform")
    with pytest.raises(RecipeError, match=r"'\d' has \d+ zeros already, .* takes a higher sparsity"):
        apply(first, shape=SMALL, sparsity=0.4, scope=scope)


def test_ties_are_broken_by_the_order_of_layers_and_weights():
    model = small()
    with torch.no_grad():
        for name in "035":
            model.get_submodule(name).weight.fill_(1.0)
    after = apply(model, shape=SMALL, sparsity=0.5)
    assert zeros_by_layer(after) == {"0": 104, "3": 140, "5": 446 - 104 - 140}


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"exclude": ("steam",)}, r"pattern 'steam' matches no layer\. Did you mean 'stem'"),
        ({"layers": {"heads": LayerSparsity(sparsity=0.1)}}, r"pattern 'heads' matches no layer\. Did you mean 'head'"),
        ({"exclude": ("*",)}, "there is no layer to prune .*stem: in the recipe's exclude"),
        (
            {"sparsity": 0.999, "scope": "uniform"},
            "no weight would be left in stem, depthwise, head: lower sparsity, or exclude",
        ),
        (
            {"sparsity": 0.99},
            r"fewer weights than it has output channels; with scope global at most 0\.9\d+ is possible",
        ),
    ],
    ids=["a misspelt layer", "settings of no layer", "nothing left", "uniform empties layers", "global empties layers"],
)
def test_what_cannot_be_done_is_refused(settings, message: str):
    with pytest.raises(RecipeError, match=message):
        apply(user_models.mixed(), **settings)


@pytest.mark.parametrize("fault", [float("nan"), float("inf")])
def test_weights_that_are_not_finite_are_refused_by_name(fault: float):
    model = small()
    with torch.no_grad():
        model[3].weight[0, 0, 0, 0] = fault
    with pytest.raises(RecipeError, match="the weights of '3' hold NaN or Inf"):
        apply(model, shape=SMALL)


def test_a_quantized_model_is_refused():
    with pytest.raises(RecipeError, match="the weights are codes already"):
        apply(quantized(small(), SMALL).module, shape=SMALL)


def parsed(**settings) -> WeightPruning:
    return TypeAdapter(WeightPruning).validate_python(settings)


def test_a_structure_is_written_n_to_m():
    assert parsed(structure="2:4") == WeightPruning(structure=NOfM(keep=2, of=4))
    assert parsed(structure="1:3", sparsity=0.667).structure == NOfM(keep=1, of=3)
    written = TypeAdapter(WeightPruning).dump_python(parsed(structure="2:4"), mode="json")
    assert parsed(**written) == parsed(structure="2:4")


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"sparsity": 1.0}, "less than 1"),
        ({"sparsity": -0.1}, "greater than or equal to 0"),
        ({"sparsity": float("nan")}, "finite"),
        ({"layers": {"head": {"sparsity": 1.0}}}, "less than 1"),
        ({"ramp": 0.0}, "greater than 0"),
        ({"structure": "4:4"}, "4:4 keeps nothing or everything: write N:M with 0 < N < M, such as 2:4"),
        ({"structure": "two of four"}, "unstructured"),
        (
            {"structure": "2:4", "sparsity": 0.7},
            "structure 2:4 zeroes 0.5 of the weights, not 0.7; write sparsity: 0.5",
        ),
        (
            {"structure": "2:4", "layers": {"head": {"sparsity": 0.5}}},
            "has one sparsity everywhere; leave 'layers' out",
        ),
    ],
    ids=lambda value: str(value)[:40],
)
def test_settings_that_mean_nothing_are_refused(settings, message: str):
    with pytest.raises(ValidationError, match=message):
        parsed(**settings)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: WeightPruning(sparsity=1.5, ramp=0.0), r"WeightPruning: sparsity: 1\.5: .*less than 1; ramp: 0\.0: "),
        (lambda: LayerSparsity(sparsity=1.5), r"LayerSparsity: sparsity: 1\.5: .*less than 1"),
        (lambda: NOfM(keep=4, of=4), "4:4 keeps nothing or everything"),
        (lambda: WeightPruning(structure=NOfM(keep=2, of=4), sparsity=0.7), "write sparsity: 0.5"),
    ],
    ids=["out of range", "a layer's", "a structure", "a contradiction"],
)
def test_settings_made_in_python_are_refused_like_those_of_a_recipe(make, message: str):
    with pytest.raises(RecipeError, match=message):
        make()


def test_a_structure_may_be_written_as_text_in_python_too():
    written: Any = "2:4"
    assert WeightPruning(structure=written).structure == NOfM(keep=2, of=4)


def test_a_recipe_says_the_line_of_every_setting_that_is_wrong(tmp_path: Path):
    file = tmp_path / "r.yaml"
    file.write_text("version: 1\nname: x\npasses:\n  - weight_pruning:\n      structure: '4:4'\n      ramp: 0\n")
    with pytest.raises(RecipeError, match=r"(?s)r\.yaml:5:.*4:4 keeps nothing.*r\.yaml:6:.*greater than 0"):
        load_recipe(str(file))


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda layer: layer.parametrizations.weight[0].mask.fill_(True), "3: 0 weights are masked instead of"),
        (
            lambda layer: layer.parametrizations.weight.original.data.mul_(2),
            "weights of '3' changed that were to be kept",
        ),
    ],
    ids=["an empty mask", "other weights"],
)
def test_a_broken_promise_is_found(spoil, message: str):
    before, after = uncompressed(small(), SMALL), apply(small(), shape=SMALL)
    spoil(after.module.get_submodule("3"))
    with pytest.raises(TinymlError, match=message):
        WeightPruning().ensures(before, after)


def test_a_ramp_on_some_layers_may_stand_beside_one_shot_on_others():
    ramp = apply(small(), shape=SMALL, sparsity=0.7, schedule="cubic", include=("0",))
    after = apply(ramp, shape=SMALL, sparsity=0.5, include=("5",))
    assert zeros_by_layer(after) == {"0": 0, "5": 320}
    assert {name: int(mask.zeros) for name, mask in masks(after.module)} == {"0": 76, "5": 320}
