from itertools import pairwise, product

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from tinyml.numerics.saturation import convolution_saturation, largest_pair_sum, saturation_error


def saturated_dot(x: list[int], w: list[int]) -> int:
    """The kernel, in Python integers: neighbours are added in 16 bits, pairs in 32."""
    x, w = ([*x, 0], [*w, 0]) if len(x) % 2 else (x, w)
    pairs = [x[k] * w[k] + x[k + 1] * w[k + 1] for k in range(0, len(x), 2)]
    return sum(max(-32768, min(32767, pair)) for pair in pairs)


def exact_dot(x: list[int], w: list[int]) -> int:
    return sum(a * b for a, b in zip(x, w, strict=True))


def error(x: list[int], w: list[int]) -> float:
    return float(saturation_error(torch.tensor(x).reshape(1, -1, 1), torch.tensor([w], dtype=torch.int8)))


codes = st.integers(-128, 127)
pixels = st.integers(0, 255)


@pytest.mark.parametrize("pair", list(product((-128, -64, 127), (-128, 65, 127))), ids=str)
def test_a_pair_at_full_activations_loses_what_16_bits_cannot_hold(pair: tuple[int, int]):
    assert error([255, 255], list(pair)) == saturated_dot([255, 255], list(pair)) - exact_dot([255, 255], list(pair))


def test_two_largest_products_lose_what_lies_beyond_32767():
    assert error([255, 255], [127, 127]) == 32767 - 2 * 255 * 127


@given(data=st.lists(st.tuples(pixels, codes), min_size=1, max_size=11))
def test_any_row_equals_the_loop_over_integers_also_of_odd_length(data: list[tuple[int, int]]):
    x, w = [a for a, _ in data], [b for _, b in data]
    assert error(x, w) == saturated_dot(x, w) - exact_dot(x, w)


@given(data=st.lists(st.tuples(pixels, st.integers(-64, 64)), min_size=1, max_size=16))
def test_seven_bit_weights_never_saturate(data: list[tuple[int, int]]):
    assert error([a for a, _ in data], [b for _, b in data]) == 0.0


@given(data=st.lists(st.tuples(pixels, codes), min_size=2, max_size=8))
def test_the_static_bound_is_enough(data: list[tuple[int, int]]):
    x, w = [a for a, _ in data], [b for _, b in data]
    if int(largest_pair_sum(torch.tensor([w], dtype=torch.int8))) <= 128:
        assert error(x, w) == 0.0


def test_every_image_channel_and_position_has_its_own_error():
    generator = torch.Generator().manual_seed(0)
    columns = torch.randint(0, 256, (2, 7, 3), generator=generator)
    weights = torch.randint(-128, 128, (4, 7), generator=generator)
    found = saturation_error(columns, weights.to(torch.int8))
    for n, c, place in product(range(2), range(4), range(3)):
        x, w = columns[n, :, place].tolist(), weights[c].tolist()
        assert found[n, c, place] == saturated_dot(x, w) - exact_dot(x, w)


@pytest.mark.parametrize(
    ("row", "largest"), [([1, -100, 28, 3], 128), ([-128, -128], 256), ([7], 7), ([0, 0, 0], 0)], ids=str
)
def test_the_largest_pair_is_the_two_largest_magnitudes(row: list[int], largest: int):
    brute = max((abs(a) + abs(b) for i, a in enumerate(row) for b in row[i + 1 :]), default=abs(row[0]))
    assert int(largest_pair_sum(torch.tensor([row], dtype=torch.int8))) == largest == brute


def test_the_largest_pair_is_found_for_each_output_channel_of_a_convolution():
    weights = torch.zeros(2, 3, 2, 2, dtype=torch.int8)
    weights[1, 0, 0, 0], weights[1, 2, 1, 1] = -70, 60
    assert largest_pair_sum(weights).tolist() == [0, 130]


def test_a_convolution_reduces_its_channels_first_and_pads_with_the_zero_point():
    """Three places, two channels, a kernel of two places: the pairs are the channels of one place."""
    unsigned = torch.tensor([[[200, 255, 7], [255, 100, 250]]])
    codes = torch.tensor([[[127, -128], [127, -100]]], dtype=torch.int8)
    found = convolution_saturation(unsigned, codes, zero=255, stride=(1,), padding=(1, 0), dilation=(1,), groups=1)
    places = [(255, 255), (200, 255), (255, 100), (7, 250)]
    rows = [[*left, *right] for left, right in pairwise(places)]
    w = [127, 127, -128, -100]
    assert found.tolist() == [[[saturated_dot(row, w) - exact_dot(row, w) for row in rows]]]


def test_groups_saturate_apart():
    unsigned = torch.randint(0, 256, (2, 4, 5, 5), generator=torch.Generator().manual_seed(0))
    codes = torch.randint(-128, 128, (6, 2, 3, 3), generator=torch.Generator().manual_seed(1)).to(torch.int8)
    settings = {"zero": 3, "stride": (2, 1), "padding": (1, 0, 2, 1), "dilation": (1, 1)}
    together = convolution_saturation(unsigned, codes, groups=2, **settings)
    halves = zip(unsigned.chunk(2, dim=1), codes.chunk(2), strict=True)
    apart = torch.cat([convolution_saturation(x, w, groups=1, **settings) for x, w in halves], dim=1)
    assert torch.equal(together, apart)
    assert together.abs().sum() > 0
