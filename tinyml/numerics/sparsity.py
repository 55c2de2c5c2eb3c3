"""Which weights to set to zero: those of the smallest magnitude, exactly as many as asked for.

    zeros(s)  = round(s numel)                                  a half rounds to the even number
    zeros(t)  = zeros_f + (zeros_i - zeros_f) (1 - t)^3         t: share of the ramp that is done, 0-1

The cubic ramp is that of Zhu and Gupta 2017, "To prune, or not to prune" (arXiv:1710.01878). N of M weights are kept
after Mishra et al. 2021, "Accelerating Sparse Deep Neural Networks" (arXiv:2104.08378). Of equal magnitudes the one
with the lower index is pruned first: in a tensor the flat index, over several tensors the earlier tensor.

What was pruned earlier comes before everything else and is never kept; where N of M meets it, more than M-N weights of
a group may be zero. `earlier` is the mask of that, bool of the weight's shape; None where nothing was pruned.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from tinyml.errors import RecipeError


@dataclass(frozen=True, kw_only=True)
class NOfM:
    """Of every `of` weights along the input channels, at most `keep` are not zero; 0 < keep < of."""

    keep: int
    of: int

    def __post_init__(self) -> None:
        """Refuse numbers that keep nothing or everything.

        Raises:
            RecipeError: They do.
        """
        if not 0 < self.keep < self.of:
            raise RecipeError(f"{self} keeps nothing or everything: write N:M with 0 < N < M, such as 2:4")

    def __str__(self) -> str:
        """Return "N:M"."""
        return f"{self.keep}:{self.of}"

    @property
    def sparsity(self) -> float:
        """The share (0-1) of zeros."""
        return 1 - self.keep / self.of


def zero_count(numel: int, sparsity: float) -> int:
    """Return how many of `numel` weights are zero at a sparsity in [0, 1); half a weight rounds to the even number."""
    return round(numel * sparsity)


def cubic_zeros(start: int, final: int, progress: float) -> int:
    """Return how many weights are zero when `progress` (0-1) of the ramp from `start` to `final` zeros is done."""
    return final if progress >= 1 else final + round((start - final) * (1 - progress) ** 3)


def n_of_m_zeros(earlier: Tensor, pattern: NOfM, *, axis: int) -> int:
    """Return how many weights `kept_n_of_m` sets to zero: of every group M-N, or those that were pruned earlier."""
    pruned = (~earlier).movedim(axis, -1).reshape(-1, pattern.of).sum(dim=1)
    return int(pruned.clamp_min(pattern.of - pattern.keep).sum())


def kept_weights(weight: Tensor, zeros: int, *, earlier: Tensor | None = None) -> Tensor:
    """Return the mask, bool of the weight's shape, that is False for exactly `zeros` of the smallest magnitude."""
    return _all_but_smallest(_magnitude(weight, earlier), zeros)


def kept_n_of_m(weight: Tensor, pattern: NOfM, *, axis: int, earlier: Tensor | None = None) -> Tensor:
    """Return the mask, bool of the weight's shape, that keeps the largest N of every M neighbours along `axis`.

    The size of the axis is a multiple of M.
    """
    moved = _magnitude(weight, earlier).movedim(axis, -1)
    order = moved.reshape(-1, pattern.of).argsort(dim=1, stable=True)
    kept = torch.ones_like(order, dtype=torch.bool).scatter_(1, order[:, : pattern.of - pattern.keep], False)
    kept = kept.reshape(moved.shape).movedim(-1, axis)
    return kept if earlier is None else kept & earlier


def kept_on_the_way(weight: Tensor, zeros: int, pattern: NOfM, *, axis: int, earlier: Tensor | None = None) -> Tensor:
    """Return a mask with `zeros` zeros, all of them in places that the pattern sets to zero in the end.

    Where there are as many zeros as the pattern has, it is `kept_n_of_m`.
    """
    stays = kept_n_of_m(weight, pattern, axis=axis, earlier=earlier)
    return _all_but_smallest(_magnitude(weight, earlier).masked_fill(stays, torch.inf), zeros)


def global_zeros(weights: Sequence[Tensor], zeros: int, *, most: Sequence[int]) -> list[int]:
    """Return how many weights of each tensor lie below the one threshold that sets `zeros` of all weights to zero.

    The counts sum to `zeros`. The magnitudes must be comparable, that is, not scaled per tensor.

    Args:
        weights: tensors of any shape.
        zeros: number of zeros in all of them together; at most the sum of `most`.
        most: largest number of zeros of each tensor; where the threshold wants more, other tensors give them.
    """
    assert zeros <= sum(most)
    if not weights:
        return []
    magnitudes = [
        weight.abs().masked_fill(kept_weights(weight, limit), torch.inf).reshape(-1)
        for weight, limit in zip(weights, most, strict=True)
    ]
    kept = _all_but_smallest(torch.cat(magnitudes), zeros)
    return [int((~part).count_nonzero()) for part in torch.split(kept, [len(each) for each in magnitudes])]


def _magnitude(weight: Tensor, earlier: Tensor | None) -> Tensor:
    """Return |weight|, but what was pruned earlier below every other one."""
    return weight.abs() if earlier is None else weight.abs().masked_fill(~earlier, -1.0)


def _all_but_smallest(magnitude: Tensor, count: int) -> Tensor:
    """Return True everywhere but at the `count` smallest values; of equal ones at those with the lower flat index."""
    order = magnitude.reshape(-1).argsort(stable=True)
    kept = torch.ones_like(order, dtype=torch.bool)
    kept[order[:count]] = False
    return kept.reshape(magnitude.shape)
