import pytest
import torch
from torch import Tensor

from tinyml.numerics.affine import Grid, fake_quantize, signed_grid
from tinyml.numerics.weight_scales import SHARES, extreme_parameters, least_squares_parameters


def rows(seed: int = 0) -> Tensor:
    return torch.randn(5, 200, generator=torch.Generator().manual_seed(seed))


def errors(x: Tensor, scale: Tensor, zero_point: Tensor, grid: Grid) -> Tensor:
    return (fake_quantize(x, scale, zero_point, grid, axis=0) - x).square().sum(dim=1)


@pytest.mark.parametrize("bits", [2, 3, 4, 8])
def test_no_share_of_the_range_has_a_smaller_error(bits: int):
    x, grid = rows(), signed_grid(bits, symmetric=True)
    found = errors(x, *least_squares_parameters(x, grid, symmetric=True), grid)
    for k in range(1, SHARES + 1):
        scale = x.abs().amax(dim=1) * k / SHARES / grid.q_max
        assert bool((found <= errors(x, scale, torch.zeros(5), grid) * (1 + 1e-5)).all())


def test_one_weight_that_stands_out_is_clipped_where_that_serves_the_others():
    x = torch.cat([torch.tensor([1.0, -1.0]).repeat(50), torch.tensor([4.0])])[None]
    scale, _ = least_squares_parameters(x, signed_grid(2, symmetric=True), symmetric=True)
    assert scale.item() == pytest.approx(1.0, abs=4 / SHARES)  # exactly best: (100 + 4) / 101


def test_an_asymmetric_grid_covers_what_is_not_symmetric():
    x, grid = torch.linspace(-1.0, 14.0, 16)[None], signed_grid(4, symmetric=False)
    scale, zero_point = extreme_parameters(x, grid, symmetric=False)
    assert (scale.item(), zero_point.item()) == (1.0, -7)
    assert torch.equal(fake_quantize(x, scale, zero_point, grid, axis=0), x)


@pytest.mark.parametrize("symmetric", [True, False])
def test_rows_of_zeros_have_the_scale_one(symmetric: bool):
    scale, _ = least_squares_parameters(torch.zeros(2, 3), signed_grid(4, symmetric=symmetric), symmetric=symmetric)
    assert scale.tolist() == [1.0, 1.0]
