import math
from fractions import Fraction

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from onnx import TensorProto, helper
from onnx.reference import ReferenceEvaluator

from tinyml.numerics.affine import (
    Grid,
    affine_parameters,
    dequantize,
    fake_quantize,
    quantize,
    signed_grid,
    symmetric_parameters,
    unsigned_grid,
)

GRIDS = {"uint8": unsigned_grid(8), "int8": signed_grid(8, symmetric=False), "uint4": unsigned_grid(4)}
finite = st.floats(-1e6, 1e6, allow_nan=False, width=32)
grids = pytest.mark.parametrize("grid", GRIDS.values(), ids=GRIDS)


def scalar(value: float) -> torch.Tensor:
    return torch.tensor(value, dtype=torch.float32)


def zero_at(value: int) -> torch.Tensor:
    return torch.tensor(value, dtype=torch.int32)


@pytest.mark.parametrize(
    ("grid", "limits"),
    [
        (unsigned_grid(8), (0, 255)),
        (unsigned_grid(4), (0, 15)),
        (signed_grid(8, symmetric=False), (-128, 127)),
        (signed_grid(8, symmetric=True), (-127, 127)),
        (signed_grid(2, symmetric=True), (-1, 1)),
    ],
    ids=["uint8", "uint4", "int8", "symmetric int8", "ternary"],
)
def test_a_grid_has_the_limits_of_its_type(grid: Grid, limits: tuple[int, int]):
    assert (grid.q_min, grid.q_max) == limits
    assert grid.steps == limits[1] - limits[0]


@pytest.mark.parametrize(
    ("low", "high", "scale", "zero_point"),
    [
        (-1.0, 1.55, 0.01, 100),
        (0.0, 255.0, 1.0, 0),
        (-255.0, 0.0, 1.0, 255),
        (2.0, 5.1, 0.02, 0),
        (-5.1, -2, 0.02, 255),
    ],
    ids=["two-sided", "positive", "negative", "away from zero, above", "away from zero, below"],
)
def test_parameters_cover_the_range_and_zero(low: float, high: float, scale: float, zero_point: int):
    found_scale, found_zero = affine_parameters(scalar(low), scalar(high), unsigned_grid(8))
    assert float(found_scale) == pytest.approx(scale, rel=1e-6)
    assert int(found_zero) == zero_point


every_grid = st.builds(
    lambda bits, signed, symmetric: signed_grid(bits, symmetric=symmetric) if signed else unsigned_grid(bits),
    st.integers(2, 8),
    st.booleans(),
    st.booleans(),
)


@given(grid=every_grid, low=st.floats(-1000, -0.125, width=32), high=st.floats(0.125, 1000, width=32))
def test_scale_and_zero_point_are_those_of_the_formula_at_every_width(grid: Grid, low: float, high: float):
    scale, zero_point = affine_parameters(scalar(low), scalar(high), grid)
    assert float(scale) == pytest.approx((high - low) / (grid.q_max - grid.q_min), rel=2**-23)
    exact = round(grid.q_min - Fraction(low) / Fraction(float(scale)))
    assert int(zero_point) == max(grid.q_min, min(grid.q_max, exact))


@given(grid=every_grid, sixteenths=st.lists(st.integers(-9000, 9000), min_size=1, max_size=20), data=st.data())
def test_codes_are_those_of_fractions_at_every_width(grid: Grid, sixteenths: list[int], data: st.DataObject):
    """A scale of 1/4 is exact in float32, so that ties are ties."""
    zero = data.draw(st.integers(grid.q_min, grid.q_max))
    expected = [max(grid.q_min, min(grid.q_max, round(Fraction(k, 4)) + zero)) for k in sixteenths]
    assert quantize(torch.tensor(sixteenths) / 16, scalar(0.25), zero_at(zero), grid).tolist() == expected


@grids
@given(low=finite, high=finite)
def test_zero_is_always_on_the_grid(grid: Grid, low: float, high: float):
    scale, zero_point = affine_parameters(scalar(min(low, high)), scalar(max(low, high)), grid)
    assert grid.q_min <= int(zero_point) <= grid.q_max
    assert float(fake_quantize(scalar(0.0), scale, zero_point, grid)) == 0.0


@grids
@given(values=st.lists(finite, min_size=1, max_size=20))
def test_no_value_inside_the_range_moves_by_more_than_a_step(grid: Grid, values: list[float]):
    x = torch.tensor(values)
    scale, zero_point = affine_parameters(x.min(), x.max(), grid)
    error = (fake_quantize(x, scale, zero_point, grid) - x).abs().max()
    # Half a step by rounding the value, half by rounding the zero point, and the float32 arithmetic of x / scale.
    assert float(error) <= float(scale) * (1 + 2**-12)


def test_codes_equal_a_loop_over_python_numbers():
    grid, scale, zero_point = unsigned_grid(8), 0.25, 7
    values = [k / 16 for k in range(-64, 1200)]
    expected = [max(0, min(255, round(value / scale) + zero_point)) for value in values]
    codes = quantize(torch.tensor(values), scalar(scale), zero_at(zero_point), grid)
    assert codes.tolist() == expected
    assert dequantize(codes, scalar(scale), zero_at(zero_point)).tolist() == [
        scale * (q - zero_point) for q in expected
    ]


def test_codes_are_clamped_before_they_are_cast():
    """Eleven steps above 127 is 127: a cast first would make 138 into -118, and 267 into 11."""
    grid = signed_grid(8, symmetric=False)
    codes = quantize(torch.tensor([138.0, 152.0, 267.0, -140.0, 1e30, -math.inf]), scalar(1.0), zero_at(0), grid)
    assert codes.tolist() == [127, 127, 127, -128, 127, -128]


def test_a_code_that_fits_is_not_wrapped():
    """The labs' 4-bit example: 11 came out as -104."""
    assert int(quantize(scalar(11.0), scalar(1.0), zero_at(0), signed_grid(8, symmetric=True))) == 11


def test_halves_are_rounded_to_even_as_python_rounds():
    halves = torch.tensor([-2.5, -1.5, -0.5, 0.5, 1.5, 2.5])
    codes = quantize(halves, scalar(1.0), zero_at(0), signed_grid(8, symmetric=False))
    assert codes.tolist() == [round(half) for half in halves.tolist()] == [-2, -2, 0, 0, 2, 2]


@pytest.mark.parametrize(("dtype", "grid"), [("uint8", GRIDS["uint8"]), ("int8", GRIDS["int8"])])
def test_codes_and_values_equal_onnx(dtype: str, grid: Grid):
    x = np.concatenate([np.arange(-300, 300) / 8, np.random.default_rng(0).normal(0, 9, 400)]).astype(np.float32)
    scale, zero_point = np.float32(0.25), np.array(3, dtype)
    codes, values = _onnx_quantizer(dtype).run(None, {"x": x, "s": scale, "z": zero_point})
    ours = quantize(torch.from_numpy(x), torch.tensor(scale), zero_at(3), grid)
    assert np.array_equal(ours.numpy(), codes.astype(np.int32))
    assert np.array_equal(fake_quantize(torch.from_numpy(x), torch.tensor(scale), zero_at(3), grid).numpy(), values)


def _onnx_quantizer(dtype: str) -> ReferenceEvaluator:
    kind = TensorProto.UINT8 if dtype == "uint8" else TensorProto.INT8
    inputs = [("x", TensorProto.FLOAT, [None]), ("s", TensorProto.FLOAT, []), ("z", kind, [])]
    graph = helper.make_graph(
        [
            helper.make_node("QuantizeLinear", ["x", "s", "z"], ["q"]),
            helper.make_node("DequantizeLinear", ["q", "s", "z"], ["y"]),
        ],
        "quantizer",
        [helper.make_tensor_value_info(*item) for item in inputs],
        [
            helper.make_tensor_value_info("q", kind, [None]),
            helper.make_tensor_value_info("y", TensorProto.FLOAT, [None]),
        ],
    )
    return ReferenceEvaluator(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 21)]))


@given(low=st.floats(-100, 0, width=32), high=st.floats(0.125, 100, width=32))
def test_fake_quantization_equals_torch_but_for_ties(low: float, high: float):
    """torch multiplies by 1 / scale where ONNX divides: the quotient may fall on the other side of a half."""
    grid, x = unsigned_grid(8), torch.linspace(low - 1, high + 1, 501)
    scale, zero_point = affine_parameters(scalar(low), scalar(high), grid)
    torchs = torch.fake_quantize_per_tensor_affine(x, scale, zero_point, 0, 255)
    quotient = x.double() / scale.double()
    distance_to_tie = ((quotient - quotient.floor()) - 0.5).abs()
    clear = distance_to_tie > 255 * 2**-22  # a few units in the last place of a quotient of at most 255
    assert torch.equal(fake_quantize(x, scale, zero_point, grid)[clear], torchs[clear])


@grids
def test_a_tensor_of_zeros_gets_scale_one_and_stays_zero(grid: Grid):
    scale, zero_point = affine_parameters(scalar(0.0), scalar(0.0), grid)
    assert float(scale) == 1.0
    assert not fake_quantize(torch.zeros(5), scale, zero_point, grid).any()


@pytest.mark.parametrize(
    ("grid", "scale", "zero_point"),
    [(signed_grid(8, symmetric=True), 0.5, 0), (unsigned_grid(8), 0.5, 128), (Grid(q_min=-64, q_max=64), 63.5 / 64, 0)],
    ids=["int8", "uint8", "7 bits"],
)
def test_symmetric_parameters_put_zero_in_the_middle(grid: Grid, scale: float, zero_point: int):
    found_scale, found_zero = symmetric_parameters(scalar(63.5), grid)
    assert (float(found_scale), int(found_zero)) == (scale, zero_point)


def test_symmetric_parameters_of_zero_are_scale_one():
    scale, zero_point = symmetric_parameters(torch.tensor([0.0, 127.0]), signed_grid(8, symmetric=True))
    assert scale.tolist() == [1.0, 1.0]
    assert zero_point.tolist() == [0, 0]


@pytest.mark.parametrize("axis", [0, 1, 2, -1])
def test_channels_are_quantized_each_with_its_own_scale(axis: int):
    x, grid = torch.randn(3, 3, 3, generator=torch.Generator().manual_seed(0)), signed_grid(8, symmetric=True)
    scale, zero_point = torch.tensor([0.1, 0.02, 0.5]), torch.zeros(3, dtype=torch.int32)
    together = fake_quantize(x, scale, zero_point, grid, axis=axis).unbind(axis)
    alone = [fake_quantize(part, scale[k], zero_point[k], grid) for k, part in enumerate(x.unbind(axis))]
    assert all(torch.equal(one, other) for one, other in zip(together, alone, strict=True))


@given(values=st.lists(finite, min_size=1, max_size=20), scale=st.floats(2**-10, 2**10, width=32))
def test_fake_quantization_is_quantization_and_back_and_changes_nothing_twice(values: list[float], scale: float):
    x, grid, step, zero = torch.tensor(values), unsigned_grid(8), scalar(scale), zero_at(128)
    once = fake_quantize(x, step, zero, grid)
    assert torch.equal(once, dequantize(quantize(x, step, zero, grid), step, zero))
    assert torch.equal(fake_quantize(once, step, zero, grid), once)


def test_quantizing_leaves_its_input_as_it_was():
    x = torch.linspace(-1, 1, 9)
    before = x.clone()
    fake_quantize(x, scalar(0.3), zero_at(3), unsigned_grid(8))
    quantize(x, scalar(0.3), zero_at(3), unsigned_grid(8))
    assert torch.equal(x, before)
