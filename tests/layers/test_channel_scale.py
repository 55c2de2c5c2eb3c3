import copy

import pytest
import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize

from tinyml.layers.attachment import Attachment, attachment_faults
from tinyml.layers.channel_scale import channel_scale, scale_channels
from tinyml.layers.quantizers import attach_weight_quantizer, weight_quantizers
from tinyml.numerics.affine import signed_grid

FACTORS = torch.tensor([2.0, -0.5, 0.0])


class Levels(Attachment):
    """Gives every weight one of three values, as a codebook does."""

    def forward(self, weight: Tensor) -> Tensor:
        return torch.tensor([-0.3, 0.1, 0.4])[torch.bucketize(weight, torch.tensor([-0.1, 0.2]))]

    def fault(self, weight: Tensor) -> str:
        return ""


def levelled() -> nn.Linear:
    layer = nn.Linear(30, 3)
    with torch.no_grad():
        layer.weight.copy_(torch.linspace(-0.3, 0.4, 30).expand(3, 30))
    parametrize.register_parametrization(layer, "weight", Levels())
    return layer


def test_each_channel_is_multiplied_behind_what_is_attached_and_the_trained_weight_stays():
    layer = levelled()
    levels, original = layer.weight.clone(), layer.parametrizations.weight.original.clone()
    scale_channels(layer, FACTORS)
    assert torch.equal(layer.weight, levels * FACTORS[:, None])
    assert torch.equal(layer.parametrizations.weight.original, original)
    scale_channels(layer, FACTORS)
    assert torch.equal(layer.weight, levels * FACTORS[:, None] ** 2)
    assert len(layer.parametrizations.weight) == 2


def test_a_layer_without_it_has_none():
    assert channel_scale(nn.Linear(2, 2)) is None
    assert channel_scale(levelled()) is None


def test_a_factor_that_is_not_finite_is_a_fault():
    layer = levelled()
    scale_channels(layer, torch.tensor([1.0, float("inf"), 1.0]))
    assert attachment_faults(layer) == ["weight: 1 factors of its channels are not finite"]


@pytest.mark.parametrize("bits", [4, 8])
def test_a_quantizer_behind_it_gives_each_level_one_code_but_for_the_sign(bits: int):
    layer = levelled()
    scale_channels(layer, FACTORS)
    quantizer = attach_weight_quantizer(layer, signed_grid(bits, symmetric=True))
    weight = weight_quantizers(layer)[""][1]
    quantizer.fit(weight, factor=channel_scale(layer).factor)
    quantizer.freeze(weight)
    positive, negative, zero = (set(row.tolist()) for row in quantizer.codes)
    assert negative == {-code for code in positive}
    assert (len(positive), zero) == (3, {0})
    assert "scale" not in dict(quantizer.named_parameters())
    step = quantizer.scale[0] / 2
    assert torch.equal(quantizer.scale[:2], torch.stack([step * 2, step / 2]))


def test_its_copy_is_its_own():
    layer = levelled()
    scale_channels(layer, FACTORS)
    twin = copy.deepcopy(layer)
    scale_channels(twin, FACTORS)
    assert torch.equal(channel_scale(layer).factor, FACTORS)
