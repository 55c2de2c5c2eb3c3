"""What 16-bit saturation does to an 8-bit dot product on x86 without VNNI, computed exactly.

onnxruntime's AVX2 kernel multiplies unsigned activations with signed weights and adds the products of neighbours k, k
+ 1 of the reduction axis in 16 bits, saturating (instruction VPMADDUBSW); sums of pairs are then added in 32 bits. So

    saturated = sum over pairs of clamp(x[2i] w[2i] + x[2i+1] w[2i+1], -32768, 32767)

With 0 <= x <= 255 a pair is safe when |w[2i]| + |w[2i+1]| <= 128, because 255 * 128 = 32640. Convolutions are reduced
in the order (kH, kW, C_in / groups). onnxruntime computes depthwise convolutions with another kernel, which does not
saturate.
"""

import torch
import torch.nn.functional as F
from torch import Tensor

SAFE_PAIR_SUM = 128
"""Largest |w_i| + |w_j| of two weight codes whose products with uint8 activations always add up within 16 bits."""

_INT16_MIN, _INT16_MAX = -(2**15), 2**15 - 1


def largest_pair_sum(codes: Tensor) -> Tensor:
    """Return the largest |w_i| + |w_j| of each output channel, (C_out,), from codes (C_out, ...) int8.

    Any two, not only neighbours: no runtime's order of the reduction can then exceed it.
    """
    magnitudes = codes.to(torch.int32).abs().flatten(1)
    return magnitudes.topk(min(2, magnitudes.shape[1]), dim=1).values.sum(dim=1)


def saturation_error(columns: Tensor, codes: Tensor) -> Tensor:
    """Return saturated - exact dot products, float32 (N, C_out, L).

    Args:
        columns: activations as unsigned codes, float or integer, (N, K, L), 0-255, in the kernel's order of K.
        codes: weight codes (C_out, K), -128 to 127, in the same order.
    """
    if columns.shape[1] % 2:
        columns, codes = (F.pad(t, p) for t, p in ((columns, (0, 0, 0, 1)), (codes, (0, 1))))
    error = torch.zeros(columns.shape[0], codes.shape[0], columns.shape[2])
    pairs = codes.to(torch.int32).reshape(codes.shape[0], -1, 2)
    channels, positions = torch.nonzero(pairs.abs().sum(dim=2) > SAFE_PAIR_SUM, as_tuple=True)
    for channel in torch.unique(channels):
        chosen = positions[channels == channel]
        weights = pairs[channel, chosen].float()
        sums = (
            columns[:, 2 * chosen].float() * weights[:, 0, None]
            + columns[:, 2 * chosen + 1].float() * weights[:, 1, None]
        )
        error[:, channel] = (sums.clamp(_INT16_MIN, _INT16_MAX) - sums).sum(dim=1)
    return error


def convolution_saturation(
    unsigned: Tensor,
    codes: Tensor,
    *,
    zero: float,
    stride: tuple[int, ...],
    padding: tuple[int, ...],
    dilation: tuple[int, ...],
    groups: int,
) -> Tensor:
    """Return saturated - exact sums of a convolution over one or two dimensions, float32 (N, C_out, L); L is flat.

    Args:
        unsigned: activations as unsigned codes, (N, C_in, W) or (N, C_in, H, W), 0-255.
        codes: weight codes (C_out, C_in / groups, ...), -128 to 127.
        zero: the unsigned code of 0, which the input is padded with.
        stride: one a dimension.
        padding: places before and after, of the last dimension first: (left, right, top, bottom).
        dilation: one a dimension.
        groups: groups of channels.
    """
    if unsigned.ndim == 3:
        unsigned, codes = unsigned.unsqueeze(2), codes.unsqueeze(2)
        stride, dilation = (1, *stride), (1, *dilation)
    padded = F.pad(unsigned.float(), padding, value=zero)
    columns = F.unfold(padded, codes.shape[2:], dilation=dilation, stride=stride)
    blocks = columns.reshape(len(columns), padded.shape[1], codes[0, 0].numel(), -1).chunk(groups, dim=1)
    parts = [
        saturation_error(block.transpose(1, 2).flatten(1, 2), weights.permute(0, 2, 3, 1).flatten(1))
        for block, weights in zip(blocks, codes.chunk(groups), strict=True)
    ]
    return torch.cat(parts, dim=1)
