"""Cross-layer equalization: two layers in a row share the ranges of the channels between them.

    s_c = sqrt(r1_c / r2_c)        r1_c, r2_c: largest |weight| of channel c in the first layer and in the second
    W1[c] /= s_c    b1[c] /= s_c    W2[:, c] *= s_c

so that both have the range sqrt(r1_c r2_c) in channel c, and the network computes what it did. All pairs take turns
until nothing changes; a depthwise convolution is the second layer of one pair and the first of the next. Source: Nagel
et al. 2019, "Data-Free Quantization Through Weight Equalization and Bias Correction" (arXiv:1906.04721), section 4.1.
"""

import torch
from torch import Tensor, fx, nn

from tinyml.graph.scalable_pairs import ScalablePair, scalable_pairs, scalable_weight

ROUNDS = 50
SETTLED = 1e-3
"""Largest |log s| of a round after which nothing is left to do."""


@torch.no_grad()
def equalize(graph_module: fx.GraphModule) -> list[ScalablePair]:
    """Equalize every pair of layers of the graph, in place; return the pairs.

    Args:
        graph_module: in eval mode, BatchNorm folded; `propagate_shapes` must have run.
    """
    pairs = scalable_pairs(graph_module)
    for _ in range(ROUNDS):
        moved = [_equalize_pair(graph_module, pair) for pair in pairs]
        if max(moved, default=0.0) < SETTLED:
            break
    return pairs


def _equalize_pair(graph_module: fx.GraphModule, pair: ScalablePair) -> float:
    """Return the largest |log s| of the pair; a channel whose weights are all zero on one side keeps its range."""
    first, second = graph_module.get_submodule(pair.first), graph_module.get_submodule(pair.second)
    weight, reader = scalable_weight(first), scalable_weight(second)
    assert weight is not None  # scalable_pairs left the others out
    assert reader is not None
    groups = second.groups if isinstance(second, nn.Conv1d | nn.Conv2d) else 1
    by_input = reader.double().reshape(groups, len(reader) // groups, len(weight) // groups, -1)
    given, read = weight.double().abs().flatten(1).amax(dim=1), by_input.abs().amax(dim=(1, 3)).flatten()
    used = (given > 0) & (read > 0)
    factor = torch.where(used, (given / read.where(used, 1.0)).sqrt(), 1.0)
    weight.copy_(weight / factor.reshape(-1, *[1] * (weight.ndim - 1)))
    if isinstance(first.bias, Tensor):
        first.bias.copy_(first.bias / factor)
    reader.copy_((by_input * factor.reshape(groups, 1, -1, 1)).reshape(reader.shape))
    return float(factor.log().abs().max())
