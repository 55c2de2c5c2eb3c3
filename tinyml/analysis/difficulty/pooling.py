"""Features of a value: means over regions of an image or signal, or over all tokens."""

from typing import Final

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

INPUT_POSITIONS: Final = 1024
_POOLS: Final = {
    1: functional.adaptive_avg_pool1d,
    2: functional.adaptive_avg_pool2d,
    3: functional.adaptive_avg_pool3d,
}


def pooled(value: Tensor, *, channels_last: bool, side: int) -> Tensor:
    """Return float32 (N, F), in memory of its own.

    Args:
        value: (N, C), (N, C, L), (N, C, H, W) or (N, C, D, H, W), or (N, ..., C) with `channels_last`.
        channels_last: the mean over all positions is taken, since tokens (N, T, C) need not be a line.
        side: of (N, C, H, W) the means of side x side regions are taken, fewer where it has fewer positions.
    """
    value = value.detach().float()
    if value.ndim == 2:
        return value.clone()
    if channels_last:
        return value.flatten(1, -2).mean(dim=1)
    dimensions = value.ndim - 2
    if side == 1 or dimensions not in _POOLS:
        return value.flatten(2).mean(dim=2)
    wanted = [min(size, side) for size in value.shape[2:]]
    return _POOLS[dimensions](value, wanted).flatten(1)  # type: ignore[arg-type]  # a size for each dimension


def input_features(x: np.ndarray) -> Tensor:
    """Return float32 (N, F) of inputs: as they are, larger ones pooled to 1,024 positions (32 x 32 of an image).

    Args:
        x: pixels uint8 (N, H, W, C), which stay from 0 to 255, or floats (N, ...).
    """
    values = torch.from_numpy(x)
    values = values.movedim(-1, 1).float() if x.dtype == np.uint8 else values.float()
    dimensions = values.ndim - 2
    if dimensions not in _POOLS:
        return values.flatten(1)
    return pooled(values, channels_last=False, side=round(INPUT_POSITIONS ** (1 / dimensions)))
