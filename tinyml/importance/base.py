"""What a criterion of importance is: it scores the channels of a group from evidence; what scores higher stays."""

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import ClassVar, Literal

import torch
from torch import Tensor

from tinyml.graph.channel_groups import ChannelGroup, Slice
from tinyml.training.evaluation import NonFiniteError

Need = Literal["nothing", "gradients", "activations"]


@dataclass(frozen=True, kw_only=True, eq=False)
class Evidence:
    """What is known of a network and its data, collected once for all groups (tinyml/importance/evidence.py).

    Attributes:
        seed: of whatever a criterion draws.
        weights: every parameter by its name; the network's own memory, detached.
        squared_effects: (channels,) by the name of the group: the mean over images of (sum w g)^2, the sum over the
            weights that read the channel, g the gradient of the loss of one image.
        squared_gradients: the mean over images of g^2, by the name of a weight that reads channels, of its shape.
        activations: the mean over images and places of |x| at each position of the input dimension of a weight that
            reads channels, by its name; where a grouped convolution reads, also the mean over its groups.
    """

    seed: int
    weights: Mapping[str, Tensor]
    squared_effects: Mapping[str, Tensor] = field(default_factory=dict)
    squared_gradients: Mapping[str, Tensor] = field(default_factory=dict)
    activations: Mapping[str, Tensor] = field(default_factory=dict)


class Criterion(ABC):
    """One way to score channels. `needs` says what evidence beside the weights; `parts_wanted` names its parts."""

    needs: ClassVar[Need] = "nothing"
    parts_wanted: ClassVar[str]

    @abstractmethod
    def parts(self, group: ChannelGroup, evidence: Evidence) -> Sequence[Slice]:
        """Return the slices of the group that the score is made from."""

    @abstractmethod
    def formula(self, parts: Sequence[Slice], group: ChannelGroup, evidence: Evidence) -> Tensor:
        """Return the scores (channels,) from the parts, at least one, in any floating-point type, on any device."""

    def fault(self, group: ChannelGroup, evidence: Evidence) -> str:
        """Return why the group cannot be scored, "" where it can."""
        return "" if self.parts(group, evidence) else f"it has no {self.parts_wanted}"

    def score(self, group: ChannelGroup, evidence: Evidence) -> Tensor:
        """Return float32 (channels,) on the CPU, of a group without `fault`; higher stays.

        Raises:
            NonFiniteError: A weight or the evidence is NaN or infinite.
        """
        parts = self.parts(group, evidence)
        assert parts, self.fault(group, evidence)
        with torch.no_grad():
            scores = self.formula(parts, group, evidence).float().cpu()
        broken = int((~scores.isfinite()).sum())
        if broken:
            raise NonFiniteError(
                f"{broken} of the {group.channels} channels of {group.name} have an importance of NaN or infinity: "
                "check the weights of the model and the images"
            )
        return scores
