import pytest
import torch
from torch import nn

from tinyml.graph.channel_dependencies import Place
from tinyml.graph.channel_groups import Slice
from tinyml.graph.channel_layers import Unsuited, layer_fault, place_size, place_slices


def slices(layer: nn.Module, side: str, index: list[list[int]]) -> list[Slice]:
    return place_slices(nn.ModuleDict({"l": layer}), Place(name="l", side=side), torch.tensor(index))


def said(parts: list[Slice]) -> list[tuple[str, int, str]]:
    return [(part.parameter, part.dimension, part.role) for part in parts]


@pytest.mark.parametrize(
    ("layer", "side", "expected"),
    [
        (nn.Conv2d(4, 6, 1), "output", [("l.weight", 0, "output"), ("l.bias", 0, "bias")]),
        (nn.Conv2d(4, 6, 1), "input", [("l.weight", 1, "input")]),
        (nn.ConvTranspose2d(4, 6, 1), "output", [("l.weight", 1, "output"), ("l.bias", 0, "bias")]),
        (nn.ConvTranspose2d(4, 6, 1), "input", [("l.weight", 0, "input")]),
        (nn.Conv1d(4, 4, 1, groups=4, bias=False), "output", [("l.weight", 0, "output")]),
        (nn.Linear(4, 6, bias=False), "output", [("l.weight", 0, "output")]),
        (nn.Linear(4, 6), "input", [("l.weight", 1, "input")]),
        (nn.LayerNorm(4), "output", [("l.weight", 0, "norm"), ("l.bias", 0, "norm")]),
        (nn.PReLU(4), "output", [("l.weight", 0, "other")]),
    ],
    ids=str,
)
def test_what_goes_with_the_channels_of_a_layer(layer: nn.Module, side: str, expected: list[tuple[str, int, str]]):
    assert said(slices(layer, side, [[0], [3]])) == expected


def test_a_batch_norm_gives_its_statistics_too():
    assert [part.parameter for part in slices(nn.BatchNorm2d(4), "output", [[0], [3]])] == [
        "l.weight", "l.bias", "l.running_mean", "l.running_var"
    ]  # fmt: skip


GROUPED = nn.Conv2d(8, 12, 1, groups=2)  # weight (12, 4, 1, 1)


def test_a_grouped_convolution_reads_one_column_for_the_same_place_in_every_group():
    (part,) = slices(GROUPED, "input", [[0, 4], [3, 7]])
    assert (part.dimension, part.index.tolist()) == (1, [[0], [3]])


def test_a_grouped_convolution_makes_the_same_number_of_channels_in_every_group():
    weight, bias = slices(GROUPED, "output", [[0, 6], [5, 11]])
    assert weight.index.tolist() == bias.index.tolist() == [[0, 6], [5, 11]]


@pytest.mark.parametrize(
    ("layer", "side", "index"),
    [
        (GROUPED, "input", [[0], [4]]),
        (GROUPED, "input", [[0, 1], [2, 3]]),
        (GROUPED, "output", [[0, 1], [6, 7]]),
        (nn.GroupNorm(2, 8), "output", [[0], [4]]),
        (nn.Linear(4, 6), "input", [[0], [4]]),
        (nn.Linear(4, 6), "input", [[0], [0]]),
    ],
    ids=["one group only", "two of one group", "outputs of one group", "a norm's group", "beyond the last", "twice"],
)
def test_positions_that_do_not_suit_are_refused(layer: nn.Module, side: str, index: list[list[int]]):
    with pytest.raises(Unsuited, match="'l'"):
        slices(layer, side, index)


@pytest.mark.parametrize(
    ("layer", "said"),
    [
        (nn.MultiheadAttention(8, 2), "MultiheadAttention is not cut"),
        (nn.LayerNorm((4, 4)), "2 dimensions at once"),
        (nn.InstanceNorm2d(4), "without weights"),
        (nn.utils.parametrizations.weight_norm(nn.Linear(4, 4)), "computed from other parameters"),
        (nn.Linear(4, 4), ""),
    ],
    ids=["attention", "layer norm", "instance norm", "weight norm", "linear"],
)
def test_layers_that_cannot_be_cut_say_why(layer: nn.Module, said: str):
    fault = layer_fault(layer)
    assert said in fault
    assert bool(said) == bool(fault)


def test_the_size_of_a_place_is_that_of_its_side():
    model = nn.ModuleDict({"l": nn.ConvTranspose2d(4, 6, 1, groups=2)})
    assert [place_size(model, Place(name="l", side=side)) for side in ("input", "output")] == [4, 6]
