"""Random: scores drawn uniformly from 0 to 1. The control that every other criterion must beat."""

import hashlib
from collections.abc import Sequence
from typing import ClassVar, final

import torch
from torch import Tensor

from tinyml.graph.channel_groups import ChannelGroup, Slice
from tinyml.importance.base import Criterion, Evidence


@final
class RandomOrder(Criterion):
    """Chance, by the seed and the name of the group: the same whatever other groups there are."""

    parts_wanted: ClassVar[str] = "weights"

    def parts(self, group: ChannelGroup, evidence: Evidence) -> Sequence[Slice]:
        """Return everything."""
        return group.slices

    def formula(self, parts: Sequence[Slice], group: ChannelGroup, evidence: Evidence) -> Tensor:
        """Return the draw."""
        digest = hashlib.sha256(f"{evidence.seed} {group.name}".encode()).digest()
        generator = torch.Generator().manual_seed(int.from_bytes(digest[:8], "big"))
        return torch.rand(group.channels, generator=generator)
