import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from tinyml.layers.mask import attach_mask
from tinyml.numerics.sparsity import NOfM
from tinyml.passes.weight_layers import layer_names, weight_layers


def found(module: nn.Module, structure="unstructured") -> tuple[list[str], dict[str, str]]:
    """Names of the layers to prune, and reasons by the name of those left alone."""
    chosen, left_alone = weight_layers(module, include=("*",), exclude=(), structure=structure)
    return list(chosen), {item.module: item.reason for item in left_alone}


@pytest.mark.parametrize(
    ("layer", "numel", "channels"),
    [
        (nn.Conv1d(4, 6, 3), 72, 6),
        (nn.Conv2d(4, 6, 3, groups=2), 108, 6),
        (nn.Conv3d(2, 3, 2), 48, 3),
        (nn.ConvTranspose1d(4, 6, 3), 72, 6),
        (nn.ConvTranspose2d(4, 6, 3, groups=2), 108, 6),
        (nn.ConvTranspose3d(2, 3, 2), 48, 3),
        (nn.Linear(5, 7), 35, 7),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, nn.Module) else "",
)
def test_convolutions_and_linear_layers_are_found_with_their_outputs(layer: nn.Module, numel: int, channels: int):
    chosen, left_alone = weight_layers(nn.Sequential(layer), include=("*",), exclude=())
    assert [(each.numel, each.channels, each.most) for each in chosen.values()] == [(numel, channels, numel - channels)]
    assert left_alone == []


@pytest.mark.parametrize(
    "layer",
    [nn.Embedding(5, 4), nn.EmbeddingBag(5, 4), nn.Bilinear(2, 2, 2), nn.LSTM(4, 4), nn.GRUCell(4, 4)],
    ids=lambda layer: type(layer).__name__,
)
def test_other_layers_are_listed(layer: nn.Module):
    assert found(nn.Sequential(layer)) == ([], {"0": "neither a convolution nor a linear layer"})
    assert layer_names(nn.Sequential(layer)) == ["0"]


def test_of_attention_the_output_projection_alone_is_pruned():
    assert found(nn.Sequential(nn.MultiheadAttention(8, 2)))[0] == ["0.out_proj"]


@pytest.mark.parametrize("computed", [nn.utils.parametrizations.weight_norm, nn.utils.parametrizations.spectral_norm])
def test_a_computed_weight_is_left_alone(computed):
    assert found(nn.Sequential(computed(nn.Linear(4, 4)), nn.Linear(4, 4)))[0] == ["1"]


def test_a_masked_layer_may_be_pruned_again():
    model = nn.Sequential(nn.Linear(4, 4))
    attach_mask(model[0], structure="unstructured", ramp=0.0)
    assert found(model) == (["0"], {})


def test_a_shared_weight_is_left_alone_and_a_shared_layer_is_not():
    twice = nn.Linear(4, 4)
    tied = nn.Linear(4, 4)
    tied.weight = (embedding := nn.Embedding(4, 4)).weight
    chosen, left = found(nn.Sequential(embedding, twice, nn.ReLU(), twice, tied))
    assert chosen == ["1"]
    assert left["4"] == "it shares its weight with '0'"


class Reads(nn.Module):
    """Uses one layer as a layer, of the other only the weight."""

    def __init__(self) -> None:
        super().__init__()
        self.called, self.read = nn.Linear(4, 4), nn.Linear(4, 4)

    def forward(self, x: Tensor) -> Tensor:
        return F.linear(self.called(x), self.read.weight)


def test_a_weight_that_the_models_code_reads_is_left_alone():
    assert found(Reads()) == (["called"], {"read": "the model's code reads its weight beside calling it"})


class Untraceable(Reads):
    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x) if x.sum() > 0 else x


def test_where_the_model_does_not_trace_its_code_runs_as_it_is():
    assert found(Untraceable())[0] == ["called", "read"]


@pytest.mark.parametrize(
    ("layer", "fits"),
    [
        (nn.Conv2d(8, 4, 3), True),
        (nn.Conv2d(6, 4, 3), False),
        (nn.Conv2d(8, 8, 3, groups=2), True),
        (nn.Conv2d(8, 8, 3, groups=4), False),
        (nn.Conv2d(8, 8, 3, groups=8), False),
        (nn.ConvTranspose2d(8, 3, 3), True),
        (nn.Linear(12, 5), True),
        (nn.Linear(10, 5), False),
    ],
    ids=[
        "divides",
        "does not",
        "two groups",
        "four groups",
        "depthwise",
        "transposed",
        "linear",
        "linear that does not",
    ],
)
def test_n_of_m_takes_the_layers_whose_input_channels_it_divides(layer: nn.Module, fits: bool):
    chosen, left = found(nn.Sequential(layer), structure=NOfM(keep=2, of=4))
    assert bool(chosen) is fits
    assert all(reason.startswith("2:4 does not fit: each output reads ") for reason in left.values())


def test_the_weights_are_those_that_the_network_uses():
    model = nn.Sequential(nn.Linear(4, 4))
    attach_mask(model[0], structure="unstructured", ramp=0.0).aim(model[0].weight.detach(), start=0, zeros=10)
    chosen, _ = weight_layers(model, include=("*",), exclude=())
    assert int((chosen["0"].weight == 0).sum()) == 10
    assert not isinstance(chosen["0"].weight, nn.Parameter)
    assert torch.equal(chosen["0"].weight, model[0].weight)
    assert chosen["0"].pruned == 10
