"""Scales of weight grids: of the extremes of each row, or those of least squared error.

The scale of least squared error is searched over the shares k / 64 of the row's range, k = 1 .. 64: few codes are
better spent on the bulk of a bell-shaped row than on its largest weight (Banner et al. 2019, "Post training 4-bit
quantization of convolutional networks", arXiv:1810.05723, derive it; we search). It clips, and pays from 7 bits down.
"""

import torch
from torch import Tensor

from tinyml.numerics.affine import Grid, affine_parameters, fake_quantize, symmetric_parameters

SHARES = 64


def extreme_parameters(rows: Tensor, grid: Grid, *, symmetric: bool) -> tuple[Tensor, Tensor]:
    """Return (scale float32, zero_point int32), each (R,), that cover every value of rows (R, n)."""
    return _covering(rows, grid, 1.0, symmetric=symmetric)


def least_squares_parameters(rows: Tensor, grid: Grid, *, symmetric: bool) -> tuple[Tensor, Tensor]:
    """Return (scale float32, zero_point int32), each (R,), of the least squared error of rows (R, n) on the grid."""
    best = torch.full((len(rows),), torch.inf, device=rows.device)
    scale, zero_point = _covering(rows, grid, 1.0, symmetric=symmetric)
    for k in range(SHARES, 0, -1):
        candidate, zero = _covering(rows, grid, k / SHARES, symmetric=symmetric)
        error = (fake_quantize(rows, candidate, zero, grid, axis=0) - rows).square().sum(dim=1)
        better = error < best
        best = torch.where(better, error, best)
        scale, zero_point = torch.where(better, candidate, scale), torch.where(better, zero, zero_point)
    return scale, zero_point


def _covering(rows: Tensor, grid: Grid, share: float, *, symmetric: bool) -> tuple[Tensor, Tensor]:
    if symmetric:
        return symmetric_parameters(rows.abs().amax(dim=1) * share, grid)
    low, high = rows.aminmax(dim=1)
    return affine_parameters(low * share, high * share, grid)
