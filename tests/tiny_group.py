"""A tiny network whose one group has a residual sum, a depthwise convolution, a BatchNorm and a linear reader behind a flatten."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from tinyml.graph.channel_groups import ChannelGroup, Slice


class Tiny(nn.Module):
    """2x4x4 inputs; the three channels of `conv` reach `head` through the sum with `depthwise`, four positions each."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(2, 3, 3, padding=1, bias=False)
        self.norm = nn.BatchNorm2d(3)
        self.depthwise = nn.Conv2d(3, 3, 3, padding=1, groups=3)
        self.head = nn.Linear(12, 10)

    def read(self, x: Tensor) -> Tensor:
        """What the head reads: (N, 3, 2, 2)."""
        x = F.relu(self.norm(self.conv(x)))
        return F.avg_pool2d(x + self.depthwise(x), 2)

    def forward(self, x: Tensor) -> Tensor:
        logits: Tensor = self.head(self.read(x).flatten(1))
        return logits


def tiny_group() -> ChannelGroup:
    one, four = torch.arange(3).reshape(3, 1), torch.arange(12).reshape(3, 4)
    norm = [f"norm.{name}" for name in ("weight", "bias", "running_mean", "running_var")]
    return ChannelGroup(
        name="conv",
        channels=3,
        slices=(
            Slice(parameter="conv.weight", dimension=0, role="output", index=one),
            *(Slice(parameter=name, dimension=0, role="norm", index=one) for name in norm),
            Slice(parameter="depthwise.weight", dimension=0, role="output", index=one),
            Slice(parameter="depthwise.bias", dimension=0, role="bias", index=one),
            Slice(parameter="head.weight", dimension=1, role="input", index=four),
        ),
    )
