import dataclasses
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import user_models
from pydantic import TypeAdapter, ValidationError
from random_task import quantized, random_context, random_task, trained, uncompressed
from torch import nn

from tinyml.architecture import Architecture, CutChannels, build
from tinyml.errors import DataError, GateMissed, ModelError, RecipeError, TinymlError
from tinyml.export import to_onnx
from tinyml.measure.macs import macs
from tinyml.measure.macs_torch import macs_of_module
from tinyml.measure.network import Network, read_network
from tinyml.models import create_model
from tinyml.passes import Compressed, Context
from tinyml.passes.channel_pruning import ChannelPruning
from tinyml.recipe import load_recipe
from tinyml.runtime.session import logits, open_session
from tinyml.target import load_target

IMAGE = (3, 32, 32)


def model_named(name: str) -> nn.Module:
    torch.manual_seed(0)
    return trained(create_model(name, {}) if "-" in name else getattr(user_models, name)())


def start(name: str) -> Compressed:
    return uncompressed(model_named(name), IMAGE, factory=name if "-" in name else f"user_models:{name}")


def pruned(before: Compressed, context: Context | None = None, **settings: Any) -> Compressed:
    step, context = ChannelPruning(**settings), context or random_context(IMAGE)
    step.requires(before, context)
    after = step.apply(before, context)
    step.ensures(before, after)
    return after


def cost(model: Compressed) -> int:
    return int(macs_of_module(model.module, IMAGE).value)


def parameters(model: Compressed) -> int:
    return sum(parameter.numel() for parameter in model.module.parameters())


def exported(model: Compressed, path: Path) -> Network:
    to_save = to_onnx(model.module, input_shape=IMAGE, target=load_target("x86-avx2"))
    path.write_bytes(to_save.SerializeToString())
    return read_network(path, IMAGE)


@pytest.mark.slow
def test_thirty_percent_of_the_channels_of_the_labs_vgg_are_the_labs_figures(tmp_path: Path):
    after = pruned(start("vgg-cifar"), sparsity=0.3, round_to=1, exclude=("backbone.conv7",))
    assert macs(exported(after, tmp_path / "model.onnx")).value == 305_097_920
    assert macs_of_module(after.module, IMAGE, "labs").value == 305_388_064
    assert parameters(after) == 5_013_666
    assert [(item.module, item.reason) for item in after.left_alone] == [
        ("classifier", "its channels are outputs of the network"),
        ("backbone.conv7", "in the recipe's exclude"),
    ]


USERS = [
    "densenet_like", "inception_like", "mobilenetv3_like", "shufflenet_like", "unet_like", "small_vit",
    "resnet20-cifar", "resnet18-cifar", "mobilenetv2-cifar",
]  # fmt: skip


@pytest.mark.parametrize("name", USERS)
def test_thirty_percent_of_the_channels_are_a_fifth_of_the_macs_at_least(name: str):
    before = start(name)
    after = pruned(before, sparsity=0.3)
    assert cost(after) <= 0.8 * cost(before)
    assert after.left_alone  # the classifier, at least


@pytest.mark.slow
@pytest.mark.parametrize("name", USERS)
def test_the_file_of_a_pruned_network_verifies_and_counts_as_the_module_does(name: str, tmp_path: Path):
    after, x = pruned(start(name), sparsity=0.3), random_task(IMAGE).train.x[:16]
    network = exported(after, tmp_path / "model.onnx")
    # torch's counter does not see the two products of attention: 2 blocks of 4 heads, 16 x 16 tokens, 6 features a head
    unseen = 2 * 2 * 4 * 16 * 16 * 6 if name == "small_vit" else 0
    assert macs(network).value == cost(after) + unseen
    with torch.no_grad():
        expected = after.module(torch.from_numpy(x)).numpy()
    difference = np.abs(logits(open_session(network.path), x) - expected).max()
    assert difference <= 1e-4 * np.abs(expected).max()


@pytest.mark.parametrize("scope", ["uniform", "global"])
@pytest.mark.parametrize(
    ("goal", "count"), [("keep_macs", cost), ("keep_parameters", parameters)], ids=["macs", "parameters"]
)
def test_a_goal_is_met_closely(scope: str, goal: str, count: Any):
    before = start("resnet20-cifar")
    after = pruned(before, scope=scope, round_to=1, **{goal: 0.5})
    assert 0.49 < count(after) / count(before) <= 0.5


def test_a_goal_out_of_reach_is_missed_with_how_far_it_came_and_what_held_it():
    with pytest.raises(GateMissed, match=r"keep_macs: 0\.05 cannot be met.* 0\.305 stays.*'conv1'") as error:
        pruned(start("resnet20-cifar"), keep_macs=0.05)
    assert error.value.exit_code == 3
    assert str(error.value).endswith("Give a keep_macs of 0.306 or more, or a smaller round_to")


@pytest.mark.parametrize(
    ("held", "cure"),
    [
        ({"round_to": 1}, ""),
        ({"round_to": 1, "minimum": 12}, ", or a smaller minimum"),
        ({"round_to": 8, "minimum": 12}, ", or a smaller round_to, or a smaller minimum"),
        ({"round_to": 1, "exclude": ("layer1.*",)}, ", or include and exclude that leave out fewer layers"),
        ({"round_to": 1, "layers": {"layer1.*": {"sparsity": 0.1}}}, ", or more sparsity in layers"),
    ],
    ids=["nothing", "minimum", "both", "exclude", "layers"],
)
def test_what_to_do_about_a_goal_out_of_reach_is_what_would_help(held: dict[str, Any], cure: str):
    with pytest.raises(GateMissed, match=rf"Give a keep_macs of 0\.\d+ or more{cure}$"):
        pruned(start("resnet20-cifar"), keep_macs=0.001, **held)


def test_the_most_important_channels_stay_with_their_weights():
    before = start("mlp")
    first, norm = before.module.get_submodule("1"), before.module.get_submodule("2")
    after = pruned(before, sparsity=0.5, round_to=1, importance="batchnorm_scale", layers={"4": {"sparsity": 0.0}})
    best = norm.weight.abs().argsort(descending=True)[:32].sort().values
    assert torch.equal(after.module.get_submodule("1").weight, first.weight[best])
    assert torch.equal(after.module.get_submodule("4").weight, before.module.get_submodule("4").weight[:, best])


def test_the_callers_model_stays_as_it_was():
    before = start("mixed")
    state = {name: tensor.clone() for name, tensor in before.module.state_dict().items()}
    pruned(before, sparsity=0.5, round_to=1)
    assert all(torch.equal(tensor, state[name]) for name, tensor in before.module.state_dict().items())


@pytest.mark.parametrize("name", ["mixed", "shufflenet_like", "small_vit", "mobilenetv2-cifar"])
def test_a_rebuilt_model_with_the_saved_weights_computes_the_same(name: str):
    after, x = pruned(start(name), sparsity=0.4, round_to=1), torch.randn(2, *IMAGE)
    rebuilt = build(Architecture.model_validate_json(after.architecture.model_dump_json()))
    rebuilt.load_state_dict(after.module.state_dict(), strict=True)
    with torch.no_grad():
        assert torch.equal(rebuilt(x), after.module(x))


def test_an_architecture_of_another_model_is_refused():
    edit = CutChannels(shapes={"head.weight": (10, 99)})
    with pytest.raises(ModelError, match=r"'head\.weight' is of shape \(10, 32\)"):
        build(Architecture(model="user_models:mixed", input_shape=IMAGE, edits=(edit,)))


def test_layers_that_share_channels_are_left_alone_together():
    after = pruned(start("mobilenetv3_like"), sparsity=0.3, exclude=("1.0.project.0",))
    reasons = {item.module: item.reason for item in after.left_alone}
    assert reasons["0.0"] == "in the recipe's exclude: it shares its channels with '1.0.project.0'"
    assert after.module.get_submodule("0.0").out_channels == 16
    assert after.module.get_submodule("1.0.expand.0").out_channels < 32


def test_groups_that_rounding_keeps_whole_are_listed():
    after = pruned(start("densenet_like"), sparsity=0.3, round_to=8)
    reasons = {item.module: item.reason for item in after.left_alone}
    assert "keeps all its 8 channels: counts are rounded to a multiple of 8" in reasons["block1.0.conv"]


def test_groups_that_the_criterion_cannot_rank_are_listed():
    after = pruned(start("unet_like"), sparsity=0.3, importance="batchnorm_scale")
    reasons = {item.module: item.reason for item in after.left_alone}
    assert reasons["up"].startswith("importance 'batchnorm_scale' cannot rank it: it has no")


def test_a_criterion_that_looks_at_data_prunes_too():
    after = pruned(start("mixed"), sparsity=0.5, round_to=1, importance="taylor", images=4)
    assert after.module.get_submodule("grouped").out_channels == 8


def test_the_same_seed_gives_the_same_bits():
    first, second = (pruned(start("mixed"), sparsity=0.5, round_to=1, importance="random") for _ in range(2))
    assert all(torch.equal(a, b) for a, b in zip(first.module.parameters(), second.module.parameters(), strict=True))


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({}, "exactly one of sparsity, keep_macs, keep_parameters, keep_latency, not none of them"),
        ({"sparsity": 0.3, "keep_macs": 0.5}, "not sparsity: 0.3 and keep_macs: 0.5"),
    ],
    ids=["no goal", "two goals"],
)
def test_one_goal_is_given(settings: dict[str, float], said: str):
    with pytest.raises(RecipeError, match=said):
        ChannelPruning(**settings)


@pytest.mark.parametrize(
    "settings",
    [
        {"sparsity": 1.0}, {"sparsity": -0.1}, {"sparsity": math.nan}, {"keep_macs": 0.0}, {"keep_macs": 1.1},
        {"sparsity": 0.3, "round_to": 0}, {"sparsity": 0.3, "minimum": 0}, {"sparsity": 0.3, "importance": "size"},
        {"sparsity": 0.3, "layers": {"a": {"sparsity": 1.0}}}, {"keep_latency": 0.0},
    ],
    ids=str,
)  # fmt: skip
def test_settings_out_of_range_are_refused(settings: dict[str, Any]):
    with pytest.raises(ValidationError):
        TypeAdapter(ChannelPruning).validate_python(settings)


def test_settings_made_in_python_are_checked_like_those_of_a_recipe():
    with pytest.raises(RecipeError, match=r"ChannelPruning: sparsity: 2\.0: .*less than 1; round_to: 0: "):
        ChannelPruning(sparsity=2.0, round_to=0)


def test_a_recipe_says_where_its_goal_is_wrong(tmp_path: Path):
    file = tmp_path / "r.yaml"
    file.write_text("version: 1\nname: x\npasses:\n  - channel_pruning: {keep_macs: 0.5, keep_parameters: 0.5}\n")
    with pytest.raises(RecipeError, match=r"r\.yaml.*passes.*exactly one of"):
        load_recipe(str(file))


def test_patterns_that_leave_no_layer_are_refused_before_work_begins():
    with pytest.raises(RecipeError, match="none of the 5 convolutions and linear layers is left to cut"):
        ChannelPruning(sparsity=0.3, exclude=("*",)).requires(start("mixed"), random_context(IMAGE))


def test_a_network_without_layers_to_cut_is_refused_before_work_begins():
    with pytest.raises(RecipeError, match="has no convolutions or linear layers"):
        ChannelPruning(sparsity=0.3).requires(uncompressed(nn.Flatten(), IMAGE), random_context(IMAGE))


@pytest.mark.parametrize("where", ["include", "exclude", "layers"])
def test_a_pattern_that_matches_nothing_is_refused_with_the_nearest_name(where: str):
    value: Any = {"grouper": {"sparsity": 0.5}} if where == "layers" else ("grouper",)
    with pytest.raises(RecipeError, match=r"'grouper' matches no layer\. Did you mean 'grouped'"):
        pruned(start("mixed"), sparsity=0.3, **{where: value})


def test_a_network_without_channels_to_cut_is_refused_with_the_reasons():
    with pytest.raises(RecipeError, match=r"no channels of this network can be cut.*head: its channels are outputs"):
        pruned(start("mixed"), sparsity=0.3, exclude=("grouped",))


def test_weights_that_a_pass_has_worked_on_are_refused():
    after = quantized(user_models.mixed(), IMAGE)
    with pytest.raises(RecipeError, match="put channel_pruning first"):
        ChannelPruning(sparsity=0.3).requires(after, random_context(IMAGE))


def test_a_criterion_without_its_data_is_refused():
    context = dataclasses.replace(random_context(IMAGE), task=None)
    with pytest.raises(DataError, match="importance 'taylor' needs images"):
        ChannelPruning(sparsity=0.3, importance="taylor").requires(start("mixed"), context)


def broken(after: Compressed, what: str) -> Compressed:
    module = after.copy().module
    if what == "shapes":
        return dataclasses.replace(after, module=model_named("mlp"))
    module.append(nn.Linear(10, 9))
    return dataclasses.replace(after, module=module)


@pytest.mark.parametrize(("what", "said"), [("shapes", "other shapes"), ("outputs", "outputs are of shape")])
def test_a_broken_promise_is_seen(what: str, said: str):
    before = start("mlp")
    after = pruned(before, sparsity=0.5)
    with pytest.raises(TinymlError, match=said):
        ChannelPruning(sparsity=0.5).ensures(before, broken(after, what))
