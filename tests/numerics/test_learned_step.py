import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from tinyml.numerics.affine import Grid, fake_quantize, signed_grid, unsigned_grid
from tinyml.numerics.learned_step import learned_step

UINT8, INT4 = unsigned_grid(8), signed_grid(4, symmetric=True)


def gradients(x: Tensor, scale: Tensor, zero_point: Tensor, grid: Grid, weight: Tensor, *, count: int = 1):
    """The gradients of sum(weight * output) by x and by the scale."""
    x, scale = x.clone().requires_grad_(), scale.clone().requires_grad_()
    (learned_step(x, scale, zero_point, grid, count=count) * weight).sum().backward()
    return x.grad, scale.grad


@given(
    scale=st.floats(2**-10, 4, width=32),
    zero_point=st.integers(0, 255),
    seed=st.integers(0, 99),
    bits=st.integers(4, 8),
)
def test_the_values_are_those_of_fake_quantization_to_the_bit(scale: float, zero_point: int, seed: int, bits: int):
    grid, x = unsigned_grid(bits), torch.randn(64, generator=torch.Generator().manual_seed(seed)) * 100 * scale
    zero = torch.tensor(min(zero_point, grid.q_max))
    found = learned_step(x, torch.tensor(scale), zero, grid, count=1)
    assert torch.equal(found, fake_quantize(x, torch.tensor(scale), zero, grid))


def test_the_gradients_are_those_of_the_formula():
    # x / scale = 0.4, 2.6, 9.0, -9.0; codes 0, 3, 7, -7; the last two are outside -7..7
    x, weight = torch.tensor([0.2, 1.3, 4.5, -4.5]), torch.tensor([1.0, 10.0, 100.0, 1000.0])
    by_x, by_scale = gradients(x, torch.tensor(0.5), torch.tensor(0), INT4, weight)
    assert by_x.tolist() == [1.0, 10.0, 0.0, 0.0]
    slope = (0 - 0.4) * 1 + (3 - 2.6) * 10 + 7 * 100 + -7 * 1000
    assert by_scale.item() == pytest.approx(slope / math.sqrt(7), rel=1e-5)


def test_the_gradient_of_the_scale_is_divided_by_the_root_of_the_values_that_share_it():
    given_ = (torch.tensor([0.2, 1.3]), torch.tensor(0.5), torch.tensor(0), INT4, torch.ones(2))
    alone, shared = (gradients(*given_, count=count)[1] for count in (1, 100))
    assert shared.item() == pytest.approx(alone.item() / 10)


def test_a_zero_point_shifts_the_range():
    by_x, _ = gradients(
        torch.tensor([-11.0, -9.0, 244.0, 246.0]), torch.tensor(1.0), torch.tensor(10), UINT8, torch.ones(4)
    )
    assert by_x.tolist() == [0.0, 1.0, 1.0, 0.0]  # the codes 0..255 stand for -10..245


@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last], ids=["NCHW", "NHWC"])
def test_one_scale_and_equal_scales_of_channels_have_the_same_gradients(layout: torch.memory_format):
    generator = torch.Generator().manual_seed(0)
    x = (torch.randn(5, 3, 4, 4, generator=generator) * 4).contiguous(memory_format=layout)
    weight = torch.randn(5, 3, 4, 4, generator=generator)
    by_x, by_scale = gradients(x, torch.tensor(0.5), torch.tensor(0), INT4, weight)
    channels = torch.full((5, 1, 1, 1), 0.5)
    by_x_too, by_scales = gradients(x, channels, torch.zeros(5, 1, 1, 1), INT4, weight)
    assert torch.equal(by_x, by_x_too)
    assert by_scales.shape == (5, 1, 1, 1)
    assert by_scales.sum().item() == pytest.approx(by_scale.item(), rel=1e-4)  # sums of 240 in another order


def test_a_scale_that_is_not_trained_costs_no_gradient():
    x = torch.randn(3, requires_grad=True)
    learned_step(x, torch.tensor(0.5), torch.tensor(0), INT4, count=1).sum().backward()
    assert x.grad is not None
