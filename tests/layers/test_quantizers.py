import copy

import pytest
import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize

from tinyml.layers.observer import RangeObserver
from tinyml.layers.quantizers import (
    ActivationQuantizer,
    attach_standalone,
    attach_weight_quantizer,
    weight_quantizers,
)
from tinyml.numerics.affine import Grid, dequantize, quantize, signed_grid, unsigned_grid

GRIDS = {"uint8": unsigned_grid(8), "int8": signed_grid(8, symmetric=False)}
INT8 = signed_grid(8, symmetric=True)


def activation_quantizer(grid: Grid, scale: float, zero_point: int) -> ActivationQuantizer:
    quantizer = ActivationQuantizer(grid)
    quantizer.scale.fill_(scale)
    quantizer.zero_point.fill_(zero_point)
    return quantizer


def fitted_layer(layer: nn.Module, grid: Grid = INT8) -> nn.Module:
    quantizer = attach_weight_quantizer(layer, grid)
    quantizer.fit(weight_quantizers(layer)[""][1])
    return layer


@pytest.mark.parametrize(("dtype", "grid"), GRIDS.items(), ids=GRIDS)
def test_an_activation_goes_to_its_code_and_back(dtype: str, grid: Grid):
    quantizer = activation_quantizer(grid, 0.1, 5)
    x = torch.randn(4, 3, generator=torch.Generator().manual_seed(0)) * 20
    scale, zero_point = quantizer.scale, quantizer.zero_point.to(torch.int32)
    assert torch.equal(quantizer(x), dequantize(quantize(x, scale, zero_point, grid), scale, zero_point))
    assert str(quantizer.zero_point.dtype) == f"torch.{dtype}"


def test_an_observed_value_passes_unchanged():
    quantizer = activation_quantizer(GRIDS["uint8"], 1.0, 0)
    quantizer.observer = RangeObserver(batches=1, generator=torch.Generator())
    x = torch.tensor([0.3, -7.7])
    assert torch.equal(quantizer(x), x)
    assert (quantizer.observer.low, quantizer.observer.high) == pytest.approx((-7.7, 0.3))


@pytest.mark.parametrize("grid", [INT8, Grid(q_min=-64, q_max=64)], ids=["8 bits", "7 bits"])
@pytest.mark.parametrize(
    "layer", [nn.Conv1d(3, 5, 3), nn.Conv2d(4, 6, 3, groups=2), nn.Linear(7, 3)], ids=["Conv1d", "Conv2d", "Linear"]
)
def test_the_largest_weight_of_each_channel_takes_the_last_code(layer: nn.Module, grid: Grid):
    layer = copy.deepcopy(layer)
    largest = layer.weight.detach().abs().flatten(1).amax(dim=1)
    quantizer = attach_weight_quantizer(layer, grid)
    weight = weight_quantizers(layer)[""][1]
    quantizer.fit(weight)
    quantizer.freeze(weight)
    assert torch.equal(quantizer.scale, largest / grid.q_max)
    assert torch.equal(
        quantizer.codes.abs().flatten(1).amax(dim=1), torch.full_like(largest, grid.q_max, dtype=torch.int8)
    )


def test_a_quantized_weight_is_its_codes_times_its_scales():
    layer = fitted_layer(nn.Conv2d(3, 4, 2))
    quantizer, weight = weight_quantizers(layer)[""]
    quantizer.freeze(weight)
    assert quantizer.codes.dtype is torch.int8
    assert torch.equal(layer.weight, quantizer.codes.float() * quantizer.scale.reshape(-1, 1, 1, 1))


def test_no_weight_moves_by_more_than_half_a_step():
    layer = fitted_layer(nn.Linear(50, 4))
    quantizer, weight = weight_quantizers(layer)[""]
    moved = (layer.weight - weight).abs().amax(dim=1)
    assert bool((moved <= quantizer.scale * 0.5 * (1 + 2**-16)).all())  # 127 steps in float32: 2^-24 * 127 each


def test_a_channel_of_zeros_stays_zero():
    layer = nn.Linear(3, 2)
    with torch.no_grad():
        layer.weight[1] = 0.0
    fitted_layer(layer)
    assert not layer.weight[1].any()
    assert torch.isfinite(layer.weight).all()


def test_the_float_weight_stays_the_trained_parameter():
    layer = nn.Linear(3, 2)
    before, parameter = layer.weight.detach().clone(), layer.weight
    fitted_layer(layer)
    names = dict(layer.named_parameters())
    assert names["parametrizations.weight.original"] is parameter
    assert torch.equal(parameter, before)


def test_the_codes_are_not_saved_with_the_weights():
    assert sorted(fitted_layer(nn.Linear(3, 2)).state_dict()) == [
        "bias",
        "parametrizations.weight.0.scale",
        "parametrizations.weight.original",
    ]


def test_a_copy_of_a_quantized_layer_computes_the_same_and_is_its_own():
    torch.manual_seed(0)
    layer = fitted_layer(nn.Conv2d(3, 4, 3))
    attach_standalone(layer, GRIDS["uint8"])
    layer.output_quantizer.scale.fill_(0.01)  # fine enough to tell outputs below 1 from zero
    twin, x = copy.deepcopy(layer), torch.rand(1, 3, 5, 5)
    assert torch.equal(twin(x), layer(x))
    twin.input_quantizer.scale.fill_(100.0)
    assert not torch.equal(twin(x), layer(x))


def test_a_convolution_alone_is_quantized_before_and_behind():
    layer = nn.Conv2d(1, 1, 1, bias=False)
    with torch.no_grad():
        layer.weight.fill_(1.0)
    attach_standalone(layer, GRIDS["uint8"])
    layer.input_quantizer.scale.fill_(0.5)
    layer.output_quantizer.scale.fill_(2.0)
    with torch.no_grad():
        assert layer(torch.tensor([2.8, -3.0]).reshape(1, 1, 1, 2)).flatten().tolist() == [4.0, 0.0]  # 2.8, 3.0, 4.0


def test_a_linear_layer_alone_gives_its_result_in_float():
    layer = nn.Linear(1, 1, bias=False)
    with torch.no_grad():
        layer.weight.fill_(0.3)
    attach_standalone(layer, GRIDS["uint8"])
    assert layer(torch.tensor([[2.4]])).item() == pytest.approx(0.6)
    assert not hasattr(layer, "output_quantizer")


def test_a_model_lists_its_weight_quantizers_by_layer():
    model = nn.Sequential(nn.Linear(2, 2), nn.ReLU(), nn.Sequential(nn.Linear(2, 2)))
    attach_weight_quantizer(model[2][0], INT8)
    assert list(weight_quantizers(model)) == ["2.0"]


def test_a_layer_with_weight_norm_has_no_weight_quantizer():
    assert weight_quantizers(nn.utils.parametrizations.weight_norm(nn.Linear(2, 2))) == {}


class Upper(nn.Module):
    """Keeps the first row of a weight."""

    def forward(self, weight: Tensor) -> Tensor:
        return torch.cat([weight[:1], torch.zeros_like(weight[1:])])


def test_behind_another_parametrization_its_result_is_quantized():
    layer = nn.Linear(3, 2)
    parametrize.register_parametrization(layer, "weight", Upper())
    fitted_layer(layer)
    quantizer, weight = weight_quantizers(layer)[""]
    assert torch.equal(weight, Upper()(layer.parametrizations.weight.original))
    assert quantizer.scale[1] == 1.0  # of a row without values
    assert not layer.weight[1].any()
    quantizer.freeze(weight)
    assert torch.equal(quantizer.codes[1], torch.zeros(3, dtype=torch.int8))
