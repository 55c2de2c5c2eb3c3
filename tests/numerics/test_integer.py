"""The integer reference against loops over Python's integers and fractions, which neither overflow nor round."""

from fractions import Fraction
from itertools import product

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from tinyml.errors import TinymlError
from tinyml.numerics.affine import Grid, quantize, signed_grid, unsigned_grid
from tinyml.numerics.integer import (
    bias_codes,
    convolution_accumulators,
    linear_accumulators,
    quantized_limits,
    requantize,
    shifted_bias,
)

bit_widths = st.integers(2, 8)
BYTE = unsigned_grid(8)


@st.composite
def grids(draw: st.DrawFn) -> Grid:
    bits = draw(bit_widths)
    return signed_grid(bits, symmetric=draw(st.booleans())) if draw(st.booleans()) else unsigned_grid(bits)


def codes(draw: st.DrawFn, shape: tuple[int, ...], grid: Grid) -> torch.Tensor:
    count = int(torch.tensor(shape).prod())
    values = draw(st.lists(st.integers(grid.q_min, grid.q_max), min_size=count, max_size=count))
    return torch.tensor(values, dtype=torch.int32).reshape(shape)


@st.composite
def linear_layers(draw: st.DrawFn) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor, int]:
    """Inputs (N, K), weights (C, K), bias codes (C,) and the input's zero point."""
    rows, width, channels = (draw(st.integers(1, size)) for size in (3, 9, 4))
    grid = draw(grids())
    x, weight = codes(draw, (rows, width), grid), codes(draw, (channels, width), draw(grids()))
    bias = codes(draw, (channels,), signed_grid(30, symmetric=True))
    return x, weight, bias, draw(st.integers(grid.q_min, grid.q_max))


@given(layer=linear_layers())
def test_a_linear_layer_is_the_sum_of_products_less_the_zero_point(layer) -> None:
    x, weight, bias, zero = layer
    lines = list(zip(weight.tolist(), bias.tolist(), strict=True))
    expected = [[sum((a - zero) * b for a, b in zip(row, w, strict=True)) + c for w, c in lines] for row in x.tolist()]
    found = linear_accumulators(x, weight, shifted_bias(bias, weight, zero))
    assert (found.dtype, found.tolist()) == (torch.int64, expected)


def brute_convolution(x, weight, bias, zero: int, *, stride, padding, dilation, groups: int) -> torch.Tensor:
    """The sums of (x - zero) w over the places inside the input, a product at a time; padding as ONNX orders it."""
    sizes, kernel = x.shape[2:], weight.shape[2:]
    dims = range(len(sizes))
    before, after = padding[: len(sizes)], padding[len(sizes) :]
    out = [(sizes[d] + before[d] + after[d] - dilation[d] * (kernel[d] - 1) - 1) // stride[d] + 1 for d in dims]
    sums = torch.zeros(len(x), len(weight), *out, dtype=torch.int64)
    deep, per_group = weight.shape[1], len(weight) // groups
    for n, o, *place in product(range(len(x)), range(len(weight)), *map(range, out)):
        total = int(bias[o])
        for c, *k in product(range(deep), *map(range, kernel)):
            at = [place[d] * stride[d] + k[d] * dilation[d] - before[d] for d in dims]
            if all(0 <= at[d] < sizes[d] for d in dims):
                total += (int(x[(n, o // per_group * deep + c, *at)]) - zero) * int(weight[(o, c, *k)])
        sums[(n, o, *place)] = total
    return sums


GEOMETRIES = [
    pytest.param((5, 4), (3, 3), (1, 1), (1, 1, 1, 1), (1, 1), 1, id="3x3 padded"),
    pytest.param((6, 5), (3, 2), (2, 1), (0, 1, 2, 0), (1, 1), 1, id="stride, kernel and padding of no symmetry"),
    pytest.param((7, 6), (2, 2), (1, 2), (2, 2, 2, 2), (3, 2), 2, id="dilated, two groups"),
    pytest.param((4, 4), (3, 3), (1, 1), (1, 1, 1, 1), (1, 1), 4, id="depthwise"),
    pytest.param((3, 3), (1, 1), (1, 1), (0, 0, 0, 0), (1, 1), 1, id="pointwise"),
    pytest.param((9,), (3,), (2,), (2, 1), (2,), 2, id="one dimension"),
    pytest.param((3, 4, 3), (2, 1, 2), (1, 2, 1), (1, 0, 0, 0, 1, 1), (1, 1, 1), 1, id="three dimensions"),
]


@pytest.mark.parametrize(("size", "kernel", "stride", "pads", "dilation", "groups"), GEOMETRIES)
@pytest.mark.parametrize(("grid", "zero"), [(BYTE, 0), (BYTE, 131), (signed_grid(8, symmetric=False), -77)], ids=str)
def test_a_convolution_is_the_loop_over_its_places(size, kernel, stride, pads, dilation, groups, grid, zero) -> None:
    generator = torch.Generator().manual_seed(0)
    x = torch.randint(grid.q_min, grid.q_max + 1, (2, 4, *size), generator=generator)
    weight = torch.randint(-127, 128, (4, 4 // groups, *kernel), generator=generator)
    bias = torch.randint(-(10**6), 10**6, (4,), generator=generator)
    expected = brute_convolution(x, weight, bias, zero, stride=stride, padding=pads, dilation=dilation, groups=groups)
    sides = [pads[side] for d in reversed(range(len(size))) for side in (d, d + len(size))]
    found = convolution_accumulators(
        x,
        weight,
        shifted_bias(bias, weight, zero),
        zero_input=zero,
        stride=stride,
        padding=tuple(sides),
        dilation=dilation,
        groups=groups,
    )
    assert torch.equal(found, expected)


def exactly_requantized(total: int, scales: tuple[float, float, float], zero: int, grid: Grid) -> int:
    real = Fraction(total) * Fraction(scales[0]) * Fraction(scales[1]) / Fraction(scales[2])
    return max(grid.q_min, min(grid.q_max, round(real) + zero))


any_scale = st.floats(2.0**-20, 2.0**4, width=32)
plain_scale = st.builds(lambda odd, power: odd * 2.0**power, st.integers(1, 9), st.integers(-8, 4))  # halves abound


@given(
    totals=st.lists(st.integers(-(2**31), 2**31 - 1) | st.integers(-999, 999), min_size=4, max_size=12),
    scales=st.tuples(any_scale, any_scale, any_scale) | st.tuples(plain_scale, plain_scale, plain_scale),
    zero=st.integers(-128, 255),
    grid=grids(),
)
def test_requantization_rounds_the_exact_quotient(totals: list[int], scales, zero: int, grid: Grid) -> None:
    x, w, y = (torch.tensor(scale, dtype=torch.float32) for scale in scales)
    found = requantize(torch.tensor(totals)[:, None], (x, w), y, zero, grid, axis=1)
    assert found[:, 0].tolist() == [exactly_requantized(total, scales, zero, grid) for total in totals]


@pytest.mark.parametrize("divisor", [2, 6, 10, 14, 22, 98, 514])
def test_halves_go_to_the_even_code_before_the_zero_point_is_added(divisor: int) -> None:
    """(2k + 1) / 2 lies between two codes, whatever divisor it was made by; 1 / divisor is no binary fraction."""
    totals = [(2 * k + 1) * divisor // 2 for k in range(-100, 100)]
    one = torch.tensor(1.0)
    found = requantize(
        torch.tensor(totals)[:, None], (one, one), torch.tensor(float(divisor)), 101, Grid(q_min=0, q_max=255), axis=1
    )
    assert found[:, 0].tolist() == [round(Fraction(2 * k + 1, 2)) + 101 for k in range(-100, 100)]


def test_each_channel_is_requantized_by_its_own_scale() -> None:
    totals = torch.full((2, 3, 2), 3)
    found = requantize(totals, (torch.tensor(0.5), torch.tensor([1.0, 2.0, 9.0])), torch.tensor(1.0), -1, BYTE, axis=1)
    assert found[1, :, 0].tolist() == [2 - 1, 3 - 1, 14 - 1]  # 1.5 -> 2, 3, 13.5 -> 14


@given(limits=st.tuples(st.floats(-9, 9, width=32), st.floats(0, 9, width=32)), zero=st.integers(0, 255))
def test_limits_of_codes_are_limits_of_values(limits: tuple[float, float], zero: int) -> None:
    low, high = limits[0], limits[0] + limits[1]
    scale, x = torch.tensor(0.05), torch.linspace(-20, 20, 401)
    kept = quantized_limits(low, high, scale, zero, BYTE)
    clamped = quantize(x.clamp(low, high), scale, torch.tensor(zero), BYTE)
    assert torch.equal(quantize(x, scale, torch.tensor(zero), BYTE).clamp(kept.q_min, kept.q_max), clamped)


def test_a_relu_leaves_the_codes_from_the_zero_point_on() -> None:
    assert quantized_limits(0.0, None, torch.tensor(0.1), 30, BYTE) == Grid(q_min=30, q_max=255)


def test_a_bias_is_rounded_on_the_scale_of_the_sums() -> None:
    step = torch.tensor([0.5, 0.25])
    assert bias_codes(torch.tensor([1.3, -1.3]), step).tolist() == [3, -5]  # 2.6 and -5.2


BIGGEST = 2**31 - 1


@pytest.mark.parametrize("value", [BIGGEST, -BIGGEST - 1], ids=["highest", "lowest"])
def test_the_ends_of_32_bits_fit(value: int) -> None:
    bias = bias_codes(torch.tensor([float(value)], dtype=torch.float64), torch.tensor(1.0))
    one = torch.zeros(1, 1, dtype=torch.int32)
    assert linear_accumulators(one, one, shifted_bias(bias, one, 5)).tolist() == [[value]]


@pytest.mark.parametrize("sign", [1, -1], ids=["above", "below"])
@pytest.mark.parametrize("place", ["the bias", "the shifted bias", "a sum of products"])
def test_what_does_not_fit_32_bits_is_refused_and_named(place: str, sign: int) -> None:
    one, top = torch.tensor([[sign]]), torch.tensor([sign * BIGGEST - (sign < 0)])
    steps = {
        "the bias": lambda: bias_codes(top.double() + sign, torch.tensor(1.0)),
        "the shifted bias": lambda: shifted_bias(top, one, -1),
        "a sum of products": lambda: linear_accumulators(torch.tensor([[1]]), one, top),
    }
    with pytest.raises(TinymlError, match=f"{place} reaches {sign * 2**31 - (sign < 0)}, which does not fit 32 bits"):
        steps[place]()
