"""What 16-bit saturation does to an 8-bit dot product on x86 without VNNI, computed exactly.

onnxruntime's AVX2 kernel multiplies unsigned activations with signed weights and adds the products of neighbours k, k
+ 1 of the reduction axis in 16 bits, saturating (instruction VPMADDUBSW); sums of pairs are then added in 32 bits. So

    saturated = sum over pairs of clamp(x[2i] w[2i] + x[2i+1] w[2i+1], -32768, 32767)

With 0 <= x <= 255 a pair is safe when |w[2i]| + |w[2i+1]| <= 128, because 255 * 128 = 32640. Convolutions are reduced
in the order (kH, kW, C_in / groups). onnxruntime computes depthwise convolutions with another kernel, which does not
saturate.
"""

import torch
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
        columns, codes = (torch.nn.functional.pad(t, p) for t, p in ((columns, (0, 0, 0, 1)), (codes, (0, 1))))
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
