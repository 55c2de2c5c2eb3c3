import pytest
import torch
import user_models
from random_task import quantized
from torch import Tensor, nn

from tinyml.layers.integer_layers import ACCUMULATOR_MAX, integer_layers, snap_biases, widen_for_biases

IMAGE = (3, 8, 8)


def named(model: nn.Module) -> dict[str, int]:
    """The number of input quantizers of each integer layer."""
    return {layer.name: len(layer.input_quantizers) for layer in integer_layers(model)}


class Twice(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 3, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        return self.conv(self.conv(x).relu())


def test_a_float_model_has_no_integer_layers():
    assert integer_layers(user_models.mixed()) == []


def test_a_layer_that_is_called_twice_has_two_inputs():
    assert named(quantized(Twice(), IMAGE).module) == {"conv": 2}


def test_layers_inside_an_opaque_module_are_found():
    after = quantized(user_models.data_dependent(), (3, 32, 32))
    assert named(after.module) == {"body.conv1": 1, "body.conv2": 1, "head": 1}


def test_a_dropout_does_not_hide_the_layer_behind_it():
    model = nn.Sequential(nn.Flatten(), nn.Linear(192, 4), nn.ReLU(), nn.Dropout(), nn.Identity(), nn.Linear(4, 2))
    assert named(quantized(model, IMAGE).module) == {"1": 1, "5": 1}


def test_an_excluded_layer_is_not_an_integer_layer():
    assert named(quantized(user_models.data_dependent(), (3, 32, 32), exclude=("head",)).module).keys() == {
        "body.conv1",
        "body.conv2",
    }


def codes_of_biases(model: nn.Module) -> list[Tensor]:
    return [
        layer.layer.bias.detach().double() / (quantizer.scale.item() * layer.weight_quantizer.scale.double())
        for layer in integer_layers(model)
        for quantizer in layer.input_quantizers
    ]


@pytest.mark.parametrize(("weights", "bias"), [(1e-8, 1e3), (0.0, 1e20), (1e-20, -1e9)], ids=["small", "none", "tiny"])
def test_every_bias_fits_32_bits_however_small_the_weights(weights: float, bias: float):
    model = Twice()
    with torch.no_grad():
        model.conv.weight[1] = weights
        model.conv.bias[1] = bias
    after = quantized(model, IMAGE).module
    assert all(bool((codes.abs() <= ACCUMULATOR_MAX).all()) for codes in codes_of_biases(after))


def test_only_the_channel_whose_bias_does_not_fit_gets_another_scale():
    after = quantized(Twice(), IMAGE).module
    (layer,) = integer_layers(after)
    before = layer.weight_quantizer.scale.clone()
    with torch.no_grad():
        layer.layer.bias[2] = 1e9
    widen_for_biases(after)
    assert torch.equal(layer.weight_quantizer.scale[:2], before[:2])
    assert layer.weight_quantizer.scale[2].item() > before[2].item()


def test_a_bias_is_rounded_to_the_grid_of_the_accumulator():
    after = quantized(nn.Sequential(nn.Conv2d(3, 4, 3)), IMAGE).module
    (codes,) = codes_of_biases(after)
    # A bias is float32: it holds a multiple of the step to 2^-24 of itself.
    assert torch.allclose(codes, codes.round(), rtol=2**-23, atol=0)


def test_a_bias_with_two_grids_stays_as_it_is():
    after = quantized(Twice(), IMAGE).module
    before = after.get_submodule("conv").bias.detach().clone()
    snap_biases(after)
    assert torch.equal(after.get_submodule("conv").bias, before)


def test_one_scale_for_a_tensor_is_widened_for_its_largest_bias():
    after = quantized(nn.Sequential(nn.Conv2d(3, 4, 3)), IMAGE).module
    (layer,) = integer_layers(after)
    layer.weight_quantizer.scale = nn.Parameter(torch.tensor(1e-3))
    with torch.no_grad():
        layer.layer.bias[2] = 1e9
    widen_for_biases(after)
    (codes,) = codes_of_biases(after)
    assert ACCUMULATOR_MAX * 0.99 <= codes.abs().max().item() <= ACCUMULATOR_MAX


def test_a_frozen_layers_bias_stays_as_it_is():
    after = quantized(nn.Sequential(nn.Conv2d(3, 4, 3)), IMAGE).module
    (layer,) = integer_layers(after)
    bias = layer.layer.bias.requires_grad_(False)
    bias += 0.0123
    before = bias.clone()
    snap_biases(after)
    assert torch.equal(bias, before)
