"""Trials of int8 arithmetic; saturation against sums of Python integers, one pair of products at a time."""

from collections.abc import Iterable
from itertools import product

import numpy as np
import pytest
import torch
from onnx import save
from torch import nn

from tinyml.architecture import QuantizeActivations, QuantizeStandalone, QuantizeWeights
from tinyml.graph.capture import capture
from tinyml.layers.quantizers import ActivationQuantizer, WeightQuantizer
from tinyml.verification.trials import is_depthwise, saturated_outputs, three_runs

SCALE_X, SCALE_W = 0.5, 0.25  # powers of two: products and sums are exact in float32


def clamp16(value: int) -> int:
    return max(-(2**15), min(2**15 - 1, value))


def dot(x: Iterable[int], w: Iterable[int], zero: int, *, saturate: bool) -> int:
    """Return sum of (x - zero) w, as the AVX2 kernel adds it: pairs x w + x w in 16 bits, the rest in 32."""
    x, w = list(x), list(w)
    products = [a * b for a, b in zip(x, w, strict=True)] + [0]
    pairs = [products[i] + products[i + 1] for i in range(0, len(x), 2)]
    return sum(map(clamp16, pairs) if saturate else pairs) - zero * sum(w)


def convolved(layer: nn.Conv2d, x: torch.Tensor, w: torch.Tensor, zero: int, *, saturate: bool) -> torch.Tensor:
    """Return the sums of a convolution of codes x (N, C, H, W) with w, the reduction in the order (kH, kW, C / groups)."""
    (ph, pw), (sh, sw), (dh, dw), (kh, kw) = layer.padding, layer.stride, layer.dilation, layer.kernel_size
    x = nn.functional.pad(x, (pw, pw, ph, ph), value=zero)
    n, _, height, width = x.shape
    rows, columns = (height - dh * (kh - 1) - 1) // sh + 1, (width - dw * (kw - 1) - 1) // sw + 1
    deep, out = w.shape[1], w.shape[0]
    sums = torch.zeros(n, out, rows, columns)
    for b, o, r, c in product(range(n), range(out), range(rows), range(columns)):
        first = o // (out // layer.groups) * deep
        order = list(product(range(kh), range(kw), range(deep)))
        xs = [int(x[b, first + k, r * sh + i * dh, c * sw + j * dw]) for i, j, k in order]
        sums[b, o, r, c] = dot(xs, [int(w[o, k, i, j]) for i, j, k in order], zero, saturate=saturate)
    return sums


def quantized(
    layer: nn.Module, *, zero: int = 0, signed: bool = False, alone: bool = False, seed: int = 0
) -> nn.Module:
    """Return the layer behind an 8-bit input quantizer, its weights random codes of the full range times SCALE_W."""
    generator = torch.Generator().manual_seed(seed)
    codes = torch.randint(-127, 128, layer.weight.shape, generator=generator)
    layer.weight.data = codes * SCALE_W
    limits = {"q_min": -128, "q_max": 127} if signed else {"q_min": 0, "q_max": 255}
    model = capture(nn.Sequential(layer)).module
    if alone:
        model = QuantizeStandalone(modules=("0",), **limits).apply(model)
    else:
        model = QuantizeActivations(groups=((next(iter(model.graph.nodes)).name,),), **limits).apply(model)
    model = QuantizeWeights(modules=("0",), q_min=-127, q_max=127).apply(model)
    for module in model.modules():
        if isinstance(module, WeightQuantizer):
            module.scale.data.fill_(SCALE_W)
        if isinstance(module, ActivationQuantizer):
            module.scale.data.fill_(SCALE_X)
            module.zero_point.fill_(zero)
    return model.eval()


def codes_of(model: nn.Module) -> torch.Tensor:
    return (model.get_submodule("0").weight / SCALE_W).round().int().detach()


def inputs_of(shape: tuple[int, ...], *, zero: int, low: int = 0) -> tuple[torch.Tensor, torch.Tensor]:
    """Return unsigned codes, most of them large, and the values that they stand for."""
    codes = torch.randint(0, 256, shape, generator=torch.Generator().manual_seed(1)).clamp(min=100)
    return codes, (codes + low - zero) * SCALE_X


CONVOLUTIONS = [
    pytest.param(lambda: nn.Conv2d(3, 4, 3), 0, id="odd number of channels"),
    pytest.param(lambda: nn.Conv2d(2, 4, 3, padding=1), 90, id="padding with the zero point"),
    pytest.param(lambda: nn.Conv2d(2, 4, 3, padding=1, stride=2), 7, id="stride"),
    pytest.param(lambda: nn.Conv2d(2, 3, 2, dilation=2), 7, id="dilation"),
    pytest.param(lambda: nn.Conv2d(4, 4, 3, groups=2), 128, id="groups"),
    pytest.param(lambda: nn.Conv2d(4, 3, 1, bias=False), 255, id="1x1 without bias"),
    pytest.param(lambda: nn.Conv2d(2, 3, (3, 1), padding=(1, 0), stride=(1, 2)), 3, id="no square"),
]


@pytest.mark.parametrize(("make", "zero"), CONVOLUTIONS)
def test_a_convolution_saturates_as_the_sum_of_clamped_pairs(make, zero: int) -> None:
    model = quantized(make(), zero=zero)
    layer = model.get_submodule("0")
    codes, inputs = inputs_of((2, layer.in_channels, 5, 5), zero=zero)
    sums, exact = (convolved(layer, codes, codes_of(model), zero, saturate=flag) for flag in (True, False))
    bias = 0 if layer.bias is None else layer.bias[:, None, None]
    assert not torch.equal(sums, exact)
    torch.testing.assert_close(
        torch.from_numpy(saturated_outputs(model, inputs)),
        (sums * SCALE_X * SCALE_W + bias).detach(),
        rtol=1e-6,
        atol=1e-2,
    )


def test_padding_same_is_the_padding_it_stands_for() -> None:
    same, counted = (
        quantized(nn.Conv2d(2, 4, 3, padding="same"), zero=9),
        quantized(nn.Conv2d(2, 4, 3, padding=1), zero=9),
    )
    counted.get_submodule("0").bias = same.get_submodule("0").bias
    _, inputs = inputs_of((2, 2, 5, 5), zero=9)
    np.testing.assert_array_equal(saturated_outputs(same, inputs), saturated_outputs(counted, inputs))


def test_signed_activations_are_shifted_to_unsigned_ones() -> None:
    model = quantized(nn.Conv2d(2, 4, 3, bias=False), zero=-5, signed=True)
    codes, inputs = inputs_of((2, 2, 5, 5), zero=-5, low=-128)
    sums = convolved(model.get_submodule("0"), codes, codes_of(model), -5 + 128, saturate=True)
    np.testing.assert_array_equal(saturated_outputs(model, inputs), sums.numpy() * SCALE_X * SCALE_W)


def test_a_one_dimensional_convolution_saturates_along_its_only_axis() -> None:
    model = quantized(nn.Conv1d(3, 4, 5, stride=2, padding=2, bias=False), zero=20)
    codes, inputs = inputs_of((2, 3, 11), zero=20)
    flat = nn.Conv2d(3, 4, (1, 5), stride=(1, 2), padding=(0, 2))
    sums = convolved(flat, codes[:, :, None], codes_of(model)[:, :, None], 20, saturate=True)[:, :, 0]
    np.testing.assert_array_equal(saturated_outputs(model, inputs), sums.numpy() * SCALE_X * SCALE_W)


@pytest.mark.parametrize("shape", [pytest.param((4, 9), id="rows"), pytest.param((2, 3, 9), id="tokens")])
def test_a_linear_layer_saturates_row_by_row(shape: tuple[int, ...]) -> None:
    model = quantized(nn.Linear(9, 5, bias=False), zero=33)
    codes, inputs = inputs_of(shape, zero=33)
    weights = codes_of(model).tolist()
    sums = [[dot(map(int, row), w, 33, saturate=True) for w in weights] for row in codes.reshape(-1, 9)]
    expected = np.array(sums).reshape(*shape[:-1], 5) * SCALE_X * SCALE_W
    np.testing.assert_array_equal(saturated_outputs(model, inputs), expected)


def test_a_layer_outside_a_graph_saturates_before_its_output_is_rounded() -> None:
    model = quantized(nn.Conv2d(2, 3, 3, bias=False), zero=0, alone=True)
    codes, inputs = inputs_of((2, 2, 5, 5), zero=0)
    sums = convolved(model.get_submodule("0"), codes, codes_of(model), 0, saturate=True)
    on_grid = (sums * SCALE_X * SCALE_W / SCALE_X).round().clamp(0, 255) * SCALE_X
    np.testing.assert_array_equal(saturated_outputs(model, inputs), on_grid.numpy())


def test_a_depthwise_convolution_is_exempt() -> None:
    model = quantized(nn.Conv2d(4, 4, 3, groups=4), zero=0)
    _, inputs = inputs_of((2, 4, 5, 5), zero=0)
    np.testing.assert_array_equal(saturated_outputs(model, inputs), model(inputs).detach().numpy())


def test_only_a_group_per_channel_is_depthwise() -> None:
    kinds = {"plain": 1, "grouped": 2, "depthwise": 4}
    found = {name: is_depthwise(nn.Conv2d(4, 4, 1, groups=groups)) for name, groups in kinds.items()}
    assert found == {"plain": False, "grouped": False, "depthwise": True}


def test_small_weights_do_not_saturate_and_the_model_is_left_as_it_was() -> None:
    model = quantized(nn.Conv2d(2, 3, 3), zero=5)
    model.get_submodule("0").parametrizations.weight.original.data.clamp_(-64 * SCALE_W, 64 * SCALE_W)
    _, inputs = inputs_of((2, 2, 5, 5), zero=5)
    before = model(inputs).detach().numpy()
    np.testing.assert_array_equal(saturated_outputs(model, inputs), before)
    np.testing.assert_array_equal(model(inputs).detach().numpy(), before)


def runs(quantized_graph, tmp_path, default) -> str:
    save(quantized_graph("MatMul", np.eye(3, dtype=np.int8) * 100), tmp_path / "m.onnx")
    inputs = np.tile(np.eye(3, dtype=np.float32), (34, 1))[:100]  # 100 rows, whose class is the row's number modulo 3
    return three_runs(tmp_path / "m.onnx", inputs, default(inputs), threads=1).outcome


@pytest.mark.parametrize(
    ("wrong", "outcome"), [pytest.param(1, "passed", id="99 of 100"), pytest.param(2, "failed", id="98 of 100")]
)
def test_three_runs_must_answer_alike(quantized_graph, tmp_path, wrong: int, outcome: str) -> None:
    def spoilt(inputs: np.ndarray) -> np.ndarray:
        return np.concatenate([np.roll(inputs[:wrong], 1, axis=1), inputs[wrong:]])

    assert runs(quantized_graph, tmp_path, spoilt) == outcome
