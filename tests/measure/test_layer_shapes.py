import numpy as np
import pytest
import torch
import user_models
from torch import Tensor, nn

from tinyml.measure.layer_shapes import LayerShape, observed_layers, one_layer_network
from tinyml.runtime.session import open_session

LAYERS: dict[str, tuple[nn.Module, tuple[int, ...]]] = {
    "convolution": (nn.Conv2d(4, 6, 3, stride=2, padding=1), (4, 9, 9)),
    "padding same": (nn.Conv2d(4, 6, (3, 5), padding="same", dilation=(1, 2)), (4, 9, 9)),
    "padding valid": (nn.Conv1d(4, 6, 3, padding="valid", dilation=2), (4, 9)),
    "depthwise": (nn.Conv2d(4, 4, 3, groups=4), (4, 9, 9)),
    "transposed": (nn.ConvTranspose2d(4, 6, 3, stride=2, padding=1, output_padding=1, groups=2), (4, 9, 9)),
    "linear": (nn.Linear(4, 6), (4,)),
    "linear on tokens": (nn.Linear(4, 6), (5, 4)),
}


def alone(layer: nn.Module, shape: tuple[int, ...]) -> LayerShape:
    ((_, found),) = observed_layers(nn.Sequential(layer), shape)
    return found


@pytest.mark.parametrize("name", LAYERS)
def test_a_network_of_one_layer_answers_as_torch_does(name: str):
    layer, shape = LAYERS[name]
    x = torch.randn(2, *shape, generator=torch.Generator().manual_seed(0))
    for parameter in layer.parameters():
        nn.init.constant_(parameter, 0.01)
    (output,) = open_session(one_layer_network(alone(layer, shape))).run(x.numpy()).values()
    with torch.no_grad():
        expected = layer(x).numpy() - (0.01 if name == "linear on tokens" else 0)  # MatMul adds no bias
    np.testing.assert_allclose(output, expected, rtol=0, atol=1e-6)


@pytest.mark.parametrize(
    ("name", "weight", "channels", "groups"),
    [
        ("convolution", (5, 3, 3, 3), 3, 1),
        ("depthwise", (3, 1, 3, 3), 3, 3),
        ("transposed", (2, 3, 3, 3), 2, 2),
        ("linear", (5, 3), 3, 1),
    ],
)
def test_a_layer_with_fewer_channels_has_the_input_that_goes_with_its_weight(
    name: str, weight: tuple[int, ...], channels: int, groups: int
):
    cut = alone(*LAYERS[name]).resized(weight)
    assert (cut.weight, cut.input[0], cut.groups) == (weight, channels, groups)


def test_tokens_keep_their_number():
    assert alone(*LAYERS["linear on tokens"]).resized((6, 3)).input == (5, 3)


class Twice(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Conv2d(3, 3, 1)

    def forward(self, x: Tensor) -> Tensor:
        first: Tensor = self.layer(x)
        second: Tensor = self.layer(first[..., ::2])
        return second


def test_a_layer_that_is_called_twice_stands_twice_each_with_its_own_input():
    assert [(name, shape.input) for name, shape in observed_layers(Twice(), (3, 8, 8))] == [
        ("layer", (3, 8, 8)),
        ("layer", (3, 8, 4)),
    ]


def test_the_network_is_left_as_it_was():
    model = user_models.mixed().train()
    observed_layers(model, (3, 32, 32))
    assert model.training
    assert not any(module._forward_pre_hooks for module in model.modules())
