import pytest
from torch import nn

from tinyml.graph.layer_types import BatchNorm, ChannelNorm, Convolution, LastNorm, PlainConvolution


@pytest.mark.parametrize(
    ("layer", "kinds"),
    [
        (nn.Conv2d(1, 1, 1), {PlainConvolution, Convolution}),
        (nn.ConvTranspose2d(1, 1, 1), {Convolution}),
        (nn.BatchNorm1d(1), {BatchNorm, ChannelNorm}),
        (nn.GroupNorm(1, 1), {ChannelNorm}),
        (nn.RMSNorm(1), {LastNorm}),
        (nn.Linear(1, 1), set()),
    ],
    ids=lambda value: type(value).__name__,
)
def test_a_layer_is_of_its_kinds_alone(layer: nn.Module, kinds: set[type]) -> None:
    every = (PlainConvolution, Convolution, BatchNorm, ChannelNorm, LastNorm)
    assert {kind for kind in every if isinstance(layer, kind)} == kinds
