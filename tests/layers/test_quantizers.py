import copy
import math

import pytest
import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize

from tinyml.layers.attachment import attachment_faults
from tinyml.layers.observer import RangeObserver
from tinyml.layers.quantizers import (
    ActivationQuantizer,
    attach_standalone,
    attach_weight_quantizer,
    scale_shape,
    weight_quantizers,
)
from tinyml.numerics.affine import Grid, dequantize, quantize, signed_grid, unsigned_grid

GRIDS = {"uint8": unsigned_grid(8), "int8": signed_grid(8, symmetric=False)}
INT8 = signed_grid(8, symmetric=True)


def activation_quantizer(grid: Grid, scale: float, zero_point: int) -> ActivationQuantizer:
    quantizer = ActivationQuantizer(grid)
    quantizer.scale.data.fill_(scale)
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
    layer.output_quantizer.scale.data.fill_(0.01)  # fine enough to tell outputs below 1 from zero
    twin, x = copy.deepcopy(layer), torch.rand(1, 3, 5, 5)
    assert torch.equal(twin(x), layer(x))
    twin.input_quantizer.scale.data.fill_(100.0)
    assert not torch.equal(twin(x), layer(x))


def test_a_convolution_alone_is_quantized_before_and_behind():
    layer = nn.Conv2d(1, 1, 1, bias=False)
    with torch.no_grad():
        layer.weight.fill_(1.0)
    attach_standalone(layer, GRIDS["uint8"])
    layer.input_quantizer.scale.data.fill_(0.5)
    layer.output_quantizer.scale.data.fill_(2.0)
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


@pytest.mark.parametrize(
    ("granularity", "size", "shape"),
    [
        ("tensor", 32, ()),
        ("channel", 32, (6,)),
        ("group", 18, (6, 2)),
        ("group", 32, (6, 2)),  # 18 divides 36, and is the largest number up to 32 that does
        ("group", 100, (6, 1)),
    ],
)
def test_scales_stand_for_a_tensor_its_channels_or_groups(granularity, size: int, shape: tuple[int, ...]):
    assert scale_shape(torch.empty(6, 4, 3, 3), granularity, size) == shape


def test_a_channel_with_no_divisor_near_the_size_of_a_group_is_one_group():
    assert scale_shape(torch.empty(2, 37), "group", 32) == (2, 1)


@pytest.mark.parametrize("symmetric", [True, False])
@pytest.mark.parametrize("granularity", ["tensor", "channel", "group"])
def test_a_weight_is_rounded_with_the_scale_of_its_part(granularity, symmetric: bool):
    torch.manual_seed(0)
    layer, grid = nn.Conv2d(4, 3, 3), signed_grid(4, symmetric=symmetric)
    nn.init.uniform_(layer.weight, -0.1, 0.4)
    plain = layer.weight.detach().clone()
    quantizer = attach_weight_quantizer(layer, grid, granularity=granularity, group_size=12, symmetric=symmetric)
    quantizer.fit(plain)
    parts = plain.reshape(max(quantizer.scale.numel(), 1), -1)
    scale, zeros = quantizer.scale.reshape(-1), quantizer.zeros.reshape(-1)
    expected = dequantize(quantize(parts, scale, zeros, grid, axis=0), scale, zeros, axis=0).reshape(plain.shape)
    assert torch.equal(layer.weight, expected)
    quantizer.freeze(plain)
    assert torch.equal(quantizer.codes.reshape(parts.shape), quantize(parts, scale, zeros, grid, axis=0).to(torch.int8))
    assert bool(zeros.any()) is not symmetric


def test_few_codes_clip_the_largest_weights():
    layer = nn.Linear(500, 1)
    nn.init.normal_(layer.weight, generator=torch.Generator().manual_seed(0))
    quantizer = attach_weight_quantizer(layer, signed_grid(2, symmetric=True))
    quantizer.fit(weight_quantizers(layer)[""][1])
    # A Gaussian on the codes -1, 0, 1 has its least squared error at a step of 1.224 (Max 1960, three levels).
    assert quantizer.scale.item() == pytest.approx(1.224, abs=0.1)


def test_gradients_reach_the_weight_and_the_scale():
    layer = fitted_layer(nn.Linear(4, 2))
    layer.weight.sum().backward()
    chain = layer.parametrizations.weight
    assert torch.equal(chain.original.grad, (chain.original.abs() < chain[0].scale[:, None] * 127).float())
    assert bool((chain[0].scale.grad != 0).all())


def test_gradients_reach_the_scale_of_an_activation_and_what_is_before_it():
    quantizer, x = activation_quantizer(GRIDS["uint8"], 0.1, 0), torch.tensor([[-1.0, 3.04, 90.0]], requires_grad=True)
    quantizer(x).sum().backward()
    assert x.grad.tolist() == [[0.0, 1.0, 0.0]]
    assert quantizer.scale.grad.item() == pytest.approx((0 - 0.4 + 255) / math.sqrt(3 * 255), rel=1e-4)


@pytest.mark.parametrize("symmetric", [True, False])
def test_a_step_that_threw_a_scale_below_zero_is_taken_back_in_part(symmetric: bool):
    layer = nn.Linear(4, 2)
    quantizer = attach_weight_quantizer(layer, signed_grid(8, symmetric=symmetric), symmetric=symmetric)
    weight = weight_quantizers(layer)[""][1]
    quantizer.fit(weight)
    quantizer.scale.data[0] = -1.0
    with torch.no_grad():
        quantizer.after_step(weight, 0.5)
    assert quantizer.scale[0].item() == pytest.approx(weight[0].abs().mean().item() / 127 / 16)
    assert attachment_faults(layer) == []


@pytest.mark.parametrize(("value", "fault"), [(0.0, "not positive"), (float("nan"), "not positive")])
def test_a_scale_that_is_not_positive_is_a_fault(value: float, fault: str):
    layer = fitted_layer(nn.Linear(4, 2))
    weight_quantizers(layer)[""][0].scale.data[1] = value
    (found,) = attachment_faults(layer)
    assert fault in found


def test_weights_that_something_else_moves_off_the_grid_are_a_fault():
    layer = fitted_layer(nn.Linear(4, 2))
    (quantizer, _), on_grid = weight_quantizers(layer)[""], layer.weight.detach()
    step = quantizer.scale.detach()[:, None]
    assert quantizer.fault(on_grid) == ""
    assert quantizer.fault(on_grid + torch.eye(2, 4) * step / 3) == "2 weights are not on the grid -127..127"
    assert quantizer.fault(torch.full((2, 4), 128.0) * step) == "8 weights are not on the grid -127..127"


def test_a_layer_alone_may_be_called_by_keyword():
    layer = nn.Linear(2, 2)
    attach_standalone(layer, GRIDS["uint8"])
    layer.input_quantizer.scale.data.fill_(0.5)
    x = torch.tensor([[0.3, 1.9]])
    assert torch.equal(layer(input=x), layer(x))
    assert torch.equal(layer(x), nn.functional.linear(torch.tensor([[0.5, 2.0]]), layer.weight, layer.bias))


def test_half_precision_values_come_out_as_float32():
    quantizer = activation_quantizer(GRIDS["uint8"], 0.1, 0)
    assert quantizer(torch.tensor([20.0], dtype=torch.bfloat16)).dtype is torch.float32
