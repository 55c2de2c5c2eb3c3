"""The codebooks of one layer, fitted to its weights; what a mask has zeroed takes no part and keeps its own place."""

from dataclasses import dataclass

import torch
from torch import Tensor

from tinyml.layers.codebook import table_of
from tinyml.numerics.clustering import Clusters, cluster, decode
from tinyml.numerics.clustering_starts import Start
from tinyml.passes.weight_layers import WeightLayer


@dataclass(frozen=True, kw_only=True, eq=False)
class FittedCodebook:
    """Codebooks of one layer.

    Attributes:
        centroids: (groups, k), ascending in each row.
        indices: uint8 of the weight's shape; where zeros are kept 0 is theirs, and the centroids begin at 1.
        keeps_zeros: whether a mask has zeroed weights of the layer.
        fewest: real centroids, a kept zero included, of the run that has the fewest.
    """

    centroids: Tensor
    indices: Tensor
    keeps_zeros: bool
    fewest: int

    @property
    def values(self) -> Tensor:
        """The weights that the codebooks stand for, of the weight's shape."""
        return decode(self.indices, table_of(self.centroids, keeps_zeros=self.keeps_zeros))


def run_count(layer: WeightLayer, channels_per_codebook: int | None) -> int:
    """Return into how many equal runs of output channels the layer's weight is cut.

    A run has the most channels that divide the layer's and are at most so many; with None one run has all. The weight
    of a transposed convolution has its input channels first and stays whole.
    """
    if channels_per_codebook is None or layer.input_axis == 0:
        return 1
    allowed = range(1, min(channels_per_codebook, layer.channels) + 1)
    return layer.channels // max(channels for channels in allowed if layer.channels % channels == 0)


def fit_codebook(
    layer: WeightLayer,
    *,
    bits: int,
    groups: int,
    start: Start = "optimal",
    importance: Tensor | None = None,
    seed: int = 0,
) -> FittedCodebook:
    """Return codebooks of at most 2^bits values each, kept zeros included; fewer where a run has fewer weights.

    Args:
        layer: its weight finite.
        bits: 1-8.
        groups: equal runs along the weight's first axis.
        start: where the centroids start.
        importance: weight of each squared error, of the weight's shape; None counts all alike.
        seed: of what a start draws.
    """
    weight, keeps_zeros = layer.weight, layer.pruned > 0
    if keeps_zeros and groups == 1 and bool(layer.kept.any()):
        members = None if importance is None else importance[layer.kept]
        found = cluster(weight[layer.kept], 2**bits - 1, start=start, importance=members, seed=seed)
        indices = torch.zeros_like(weight, dtype=torch.uint8).masked_scatter_(layer.kept, found.labels + 1)
        return _fitted(found, indices, keeps_zeros=True)
    if keeps_zeros:
        rows, kept = weight.reshape(groups, -1), layer.kept.reshape(groups, -1)
        # In the place of zeros a weight that is there anyhow: it adds no value, and as good as no mass.
        stand_in = rows.masked_fill(~kept, -torch.inf).amax(dim=1, keepdim=True).nan_to_num(neginf=0.0)
        weight = torch.where(kept, rows, stand_in).reshape(weight.shape)
        importance = layer.kept.to(weight.dtype) * (1.0 if importance is None else importance)
    found = cluster(weight, 2**bits - keeps_zeros, groups=groups, start=start, importance=importance, seed=seed)
    indices = torch.where(layer.kept, found.labels + 1, 0) if keeps_zeros else found.labels
    return _fitted(found, indices, keeps_zeros=keeps_zeros)


def _fitted(found: Clusters, indices: Tensor, *, keeps_zeros: bool) -> FittedCodebook:
    return FittedCodebook(
        centroids=found.codebook[:, : int(found.used.max())],
        indices=indices,
        keeps_zeros=keeps_zeros,
        fewest=int(found.used.min()) + keeps_zeros,
    )
