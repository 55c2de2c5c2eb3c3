import pytest
import torch
import user_models
from random_task import trained
from torch import Tensor, nn

from tinyml.graph.channel_groups import ChannelGroup, Slice
from tinyml.graph.channel_search import find_channel_groups
from tinyml.graph.channel_surgery import Cut, kept_tensors, permuted_tensors, resize, without_channels

IMAGE = (3, 32, 32)


def group(*slices: tuple[str, int, list[list[int]]]) -> ChannelGroup:
    parts = tuple(
        Slice(parameter=name, dimension=dimension, role="output", index=torch.tensor(index))
        for name, dimension, index in slices
    )
    return ChannelGroup(name="g", channels=len(slices[0][2]), slices=parts)


WEIGHT = {"w": torch.arange(12.0).reshape(3, 4)}


def test_kept_rows_and_columns_stay_in_their_order():
    rows = Cut(group=group(("w", 0, [[0], [1], [2]])), kept=torch.tensor([0, 2]))
    columns = Cut(group=group(("w", 1, [[0, 2], [1, 3]])), kept=torch.tensor([1]))
    assert kept_tensors(WEIGHT, [rows, columns])["w"].tolist() == [[1, 3], [9, 11]]


def test_two_groups_in_one_dimension_are_cut_by_their_own_positions():
    first = Cut(group=group(("w", 1, [[0], [1]])), kept=torch.tensor([0]))
    second = Cut(group=group(("w", 1, [[2], [3]])), kept=torch.tensor([1]))
    assert kept_tensors(WEIGHT, [first, second])["w"].tolist() == [[0, 3], [4, 7], [8, 11]]


def test_a_renamed_channel_takes_all_its_positions_along():
    renamed = permuted_tensors(WEIGHT, [(group(("w", 1, [[0, 1], [2, 3]])), torch.tensor([1, 0]))])
    assert renamed["w"][0].tolist() == [2, 3, 0, 1]


@pytest.mark.parametrize(
    ("layer", "shape", "attributes"),
    [
        (nn.Conv2d(4, 6, 3), (5, 3, 3, 3), {"in_channels": 3, "out_channels": 5, "groups": 1}),
        (nn.Conv2d(4, 4, 3, groups=4), (3, 1, 3, 3), {"in_channels": 3, "out_channels": 3, "groups": 3}),
        (nn.Conv2d(8, 12, 1, groups=2), (10, 3, 1, 1), {"in_channels": 6, "out_channels": 10, "groups": 2}),
        (nn.ConvTranspose2d(8, 12, 1, groups=2), (6, 5, 1, 1), {"in_channels": 6, "out_channels": 10, "groups": 2}),
        (nn.Linear(4, 6), (5, 3), {"in_features": 3, "out_features": 5}),
        (nn.BatchNorm1d(4), (3,), {"num_features": 3}),
        (nn.LayerNorm(4), (3,), {"normalized_shape": (3,)}),
        (nn.GroupNorm(2, 8), (6,), {"num_channels": 6, "num_groups": 2}),
        (nn.PReLU(4), (3,), {"num_parameters": 3}),
    ],
    ids=str,
)
def test_a_layer_knows_its_new_numbers(layer: nn.Module, shape: tuple[int, ...], attributes: dict[str, object]):
    resize(nn.ModuleDict({"l": layer}), {"l.weight": shape})
    assert tuple(layer.weight.shape) == shape
    assert {name: getattr(layer, name) for name in attributes} == attributes


@pytest.mark.parametrize("shape", [(7, 4), (6, 0), (6,)], ids=["it would grow", "nothing is left", "another rank"])
def test_a_model_that_does_not_fit_the_shapes_is_refused(shape: tuple[int, ...]):
    with pytest.raises(TypeError, match=r"'l\.weight' is of shape"):
        resize(nn.ModuleDict({"l": nn.Linear(4, 6)}), {"l.weight": shape})


def test_what_was_frozen_and_what_was_a_buffer_stays_so():
    model = nn.ModuleDict({"l": nn.BatchNorm1d(4).requires_grad_(False)})
    resize(model, {"l.weight": (3,), "l.running_mean": (3,)})
    assert not model["l"].weight.requires_grad
    assert [name for name, _ in model.named_buffers()] == ["l.running_mean", "l.running_var", "l.num_batches_tracked"]


def zero_readers(model: nn.Module, cuts: list[Cut]) -> None:
    """The oracle: zeros in every weight that reads a removed channel."""
    for cut in cuts:
        for part in cut.group.slices:
            if part.role == "input":
                tensor: Tensor = model.state_dict()[part.parameter]
                tensor.index_fill_(part.dimension, part.index[cut.removed].flatten(), 0.0)


@pytest.mark.parametrize("name", ["densenet_like", "mobilenetv3_like", "shufflenet_like", "unet_like", "mlp"])
def test_a_cut_network_computes_what_the_whole_one_does_without_the_readers_of_these_channels(name: str):
    torch.manual_seed(0)
    model, x = trained(getattr(user_models, name)()), torch.randn(2, *IMAGE)
    groups = find_channel_groups(model, IMAGE).groups
    cuts = [Cut(group=each, kept=torch.arange(1, each.channels, 2)) for each in groups]
    smaller = without_channels(model, cuts)
    zero_readers(model, cuts)
    with torch.no_grad():
        assert (smaller(x) - model(x)).abs().max() <= 1e-5 * model(x).abs().max()
