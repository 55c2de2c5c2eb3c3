import channel_models as made
import pytest
import torch
import user_models
from random_task import trained
from torch import nn

from tinyml.graph.channel_groups import ChannelGroup
from tinyml.graph.channel_search import find_channel_groups
from tinyml.graph.channel_surgery import permuted_tensors
from tinyml.models import create_model

IMAGE = (3, 32, 32)


def groups_of(model: nn.Module, shape: tuple[int, ...] = made.IMAGE) -> dict[str, tuple[int, int]]:
    """Channels and width by the name of the group."""
    return {group.name: (group.channels, group.width) for group in find_channel_groups(model, shape).groups}


def reason(model: nn.Module, layer: str, shape: tuple[int, ...] = made.IMAGE) -> str:
    """Why a layer was left alone."""
    (said,) = [item.reason for item in find_channel_groups(model, shape).left_alone if item.module == layer]
    return said


@pytest.mark.parametrize(
    ("factory", "expected"),
    [
        (made.plain, {"a": (16, 1), "b": (16, 1)}),
        (made.gated, {"a": (8, 2), "b": (8, 1)}),
        (made.group_norms, {"a": (4, 4), "b": (16, 1)}),
        (made.grouped, {"a": (4, 4), "g": (8, 4), "b": (16, 1)}),
        (made.transposed, {"a": (4, 2), "b": (6, 2)}),
        (made.pixel_shuffle, {"a": (4, 4), "b": (8, 1)}),
        (made.heads, {"embed": (32, 1), "queries": (4, 8)}),
        (made.root_mean_square, {"a": (32, 1), "b": (24, 1)}),
        (made.learned_factor, {"a": (16, 1), "b": (16, 1)}),
        (made.one_slope_for_all, {"a": (16, 1), "c": (8, 1)}),
        (made.shuffled_in_place, {"a": (8, 2), "b": (16, 1)}),
        (made.input_beside, {"a": (16, 1), "b": (16, 1)}),
    ],
    ids=lambda value: value.__name__ if callable(value) else "",
)
def test_channels_are_as_fine_as_the_network_allows(factory, expected: dict[str, tuple[int, int]]):
    assert groups_of(factory()) == expected


def test_a_channel_behind_a_flatten_takes_all_its_places_with_it():
    (group,) = find_channel_groups(made.flattened_signal(), (3, 12)).groups
    (columns,) = [part.index for part in group.slices if part.parameter == "head.weight"]
    assert columns.tolist() == [list(range(10 * channel, 10 * channel + 10)) for channel in range(6)]


@pytest.mark.parametrize(
    ("factory", "layer", "said"),
    [
        (made.plain, "head", "outputs of the network"),
        (made.hard_coded_slices, "a", "the forward fails without some of its channels"),
        (made.fixed_view, "b", "the forward fails without some of its channels"),
        (made.constant_factor, "a", "the forward fails without some of its channels"),
        (made.tied_weights, "b", "tied weights"),
        (made.weight_norm, "b", "weight norm"),
        (made.weight_norm, "a", "it shares its channels with 'b': its weight is computed"),
        (made.one_slope_for_all, "b", "one channel only"),
        (made.called_twice, "a", "called 2 times"),
        (made.mean_over_channels, "a", "something else of the others"),
        (made.without_gradients, "a", "does not see it at work"),
    ],
    ids=lambda value: value.__name__ if callable(value) else str(value)[:20],
)
def test_what_cannot_be_cut_is_left_alone_with_the_reason(factory, layer: str, said: str):
    assert said in reason(factory(), layer)


def test_a_network_that_returns_no_tensor_is_left_alone_as_a_whole():
    found = find_channel_groups(made.several_outputs(), made.IMAGE)
    assert found.groups == ()
    assert "it returns a dict" in found.left_alone[0].reason


def test_of_a_resnet_with_option_a_only_the_inner_channels_are_cut():
    model = create_model("resnet20-cifar", {})
    blocks = [f"layer{stage}.{block}.conv1" for stage in (1, 2, 3) for block in range(3)]
    assert list(groups_of(model, IMAGE)) == blocks
    assert "must match the size of tensor" in reason(model, "conv1", IMAGE)


@pytest.mark.parametrize(
    ("factory", "expected"),
    [
        ("shufflenet_like", {"0.0": (6, 4), "1.branch.0": (12, 1), "2.branch.0": (12, 1)}),
        ("small_vit", {"patches": (8, 4), "blocks.0.feed_forward.0": (64, 1), "blocks.1.feed_forward.0": (64, 1)}),
        ("mixed", {"grouped": (4, 4)}),
        ("encoder", {"encoder.linear1": (64, 1)}),
        ("data_dependent", {"body.conv1": (8, 1), "body.conv2": (8, 1)}),
    ],
)
def test_the_groups_of_what_users_bring(factory: str, expected: dict[str, tuple[int, int]]):
    assert groups_of(getattr(user_models, factory)(), IMAGE) == expected


@pytest.mark.parametrize("name", ["densenet_like", "inception_like", "mobilenetv3_like", "unet_like", "mlp"])
def test_every_layer_but_the_classifier_is_cut(name: str):
    found = find_channel_groups(getattr(user_models, name)(), IMAGE)
    assert [item.reason for item in found.left_alone] == ["its channels are outputs of the network"]


@pytest.mark.parametrize("name", ["vgg-cifar", "resnet18-cifar", "mobilenetv2-cifar"])
def test_sorting_channels_by_importance_leaves_the_function(name: str):
    torch.manual_seed(0)
    model = trained(create_model(name, {}))
    groups, state, x = find_channel_groups(model, IMAGE).groups, model.state_dict(), torch.randn(2, *IMAGE)
    orders = [(group, by_norm(group, state)) for group in groups]
    with torch.no_grad():
        before = model(x)
        model.load_state_dict({**state, **permuted_tensors(state, orders)})
        assert len(groups) > 7
        assert (model(x) - before).abs().max() <= 1e-5 * before.abs().max()


def by_norm(group: ChannelGroup, state: dict[str, torch.Tensor]) -> torch.Tensor:
    """The order of the L2 norms of the weights that read each channel, the largest first."""
    (reader, *_) = [part for part in group.slices if part.role == "input"]
    columns = state[reader.parameter].movedim(reader.dimension, 0)[reader.index].flatten(1)
    return columns.norm(dim=1).argsort(descending=True)


def test_the_model_stays_as_it_was():
    model = made.plain().train()
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    find_channel_groups(model, made.IMAGE)
    assert model.training
    assert all(torch.equal(tensor, before[name]) for name, tensor in model.state_dict().items())
    assert not any(module._forward_pre_hooks or "forward" in module.__dict__ for module in model.modules())


def test_the_same_groups_are_found_every_time():
    first, second = (find_channel_groups(user_models.shufflenet_like(), IMAGE).groups for _ in range(2))
    assert [[(part.parameter, part.index.tolist()) for part in group.slices] for group in first] == [
        [(part.parameter, part.index.tolist()) for part in group.slices] for group in second
    ]
