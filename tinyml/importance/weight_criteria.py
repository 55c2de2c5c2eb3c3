"""What criteria that look at weights have in common: which weights of a group they look at."""

from abc import ABC
from collections.abc import Sequence
from typing import ClassVar

from tinyml.graph.channel_groups import ChannelGroup, Slice
from tinyml.importance.base import Criterion, Evidence
from tinyml.importance.slices import consumers, producers


class WeightCriterion(Criterion, ABC):
    """A criterion of the weights that make the channels and of those that read them."""

    parts_wanted: ClassVar[str] = "weights"

    def parts(self, group: ChannelGroup, evidence: Evidence) -> Sequence[Slice]:
        """Return what makes and reads the channels."""
        return (*producers(group, evidence), *consumers(group, evidence))


class ConsumerCriterion(Criterion, ABC):
    """A criterion of the weights that read the channels."""

    parts_wanted: ClassVar[str] = "weights that read its channels"

    def parts(self, group: ChannelGroup, evidence: Evidence) -> Sequence[Slice]:
        """Return what reads the channels."""
        return consumers(group, evidence)
