"""A convolution or linear layer as a product of matrices, at positions of its output drawn at random.

    output (G, n, O) = input (G, n, K) weight^T (G, K, O) + bias

with n positions, G groups, O output channels of a group and K = input channels of a group x kernel size.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

Layer = nn.Conv1d | nn.Conv2d | nn.Linear


def matrix(layer: Layer, weight: Tensor) -> Tensor:
    """Return a weight (C_out, ...) of the layer as (G, O, K)."""
    return weight.reshape(_groups(layer), len(weight) // _groups(layer), -1)


def draw_positions(layer: Layer, output: Tensor, most: int, generator: torch.Generator) -> Tensor:
    """Return at most `most` positions of the output, int64 (n,): all of them where they are no more."""
    there = _images(layer, output)[:, 0].numel()
    return torch.arange(there) if there <= most else torch.randint(there, (most,), generator=generator)


def output_rows(layer: Layer, output: Tensor, positions: Tensor) -> Tensor:
    """Return the layer's output at the positions, (G, n, O)."""
    rows = _images(layer, output).permute(0, 2, 3, 1).flatten(0, 2)[positions.to(output.device)]
    return rows.reshape(len(positions), _groups(layer), -1).transpose(0, 1)


def input_rows(layer: Layer, x: Tensor, output: Tensor, positions: Tensor) -> Tensor:
    """Return what the layer reads for the positions of its output, (G, n, K)."""
    if isinstance(layer, nn.Linear):
        return x.reshape(-1, layer.in_features)[positions.to(x.device)].unsqueeze(0)
    mode = "constant" if layer.padding_mode == "zeros" else layer.padding_mode
    x = _images(layer, F.pad(x, layer._reversed_padding_repeated_twice, mode=mode))
    image, row, column = torch.unravel_index(positions.to(x.device), _images(layer, output)[:, 0].shape)
    rows, columns = (
        (start * stride).unsqueeze(1) + torch.arange(size, device=x.device) * dilation
        for start, size, stride, dilation in zip(
            (row, column), _pair(layer.kernel_size), _pair(layer.stride), _pair(layer.dilation), strict=True
        )
    )
    patches = x.permute(0, 2, 3, 1)[image[:, None, None], rows[:, :, None], columns[:, None, :]]
    return patches.permute(0, 3, 1, 2).reshape(len(positions), _groups(layer), -1).transpose(0, 1)


def _groups(layer: Layer) -> int:
    return 1 if isinstance(layer, nn.Linear) else layer.groups


def _pair(sizes: tuple[int, ...]) -> tuple[int, ...]:
    return (1,) * (2 - len(sizes)) + sizes


def _images(layer: Layer, x: Tensor) -> Tensor:
    """Return what a layer reads or gives as (N, C, H, W): a linear layer's rows are images of one pixel."""
    if isinstance(layer, nn.Linear):
        return x.reshape(-1, x.shape[-1], 1, 1)
    spatial = len(layer.kernel_size)
    x = x if x.ndim == spatial + 2 else x.unsqueeze(0)
    return x if spatial == 2 else x.unsqueeze(2)
