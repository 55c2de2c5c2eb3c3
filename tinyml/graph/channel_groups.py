"""Channel groups: which positions of which parameters must be cut together for one channel of a network to go."""

from dataclasses import dataclass
from typing import Literal

from torch import Tensor

SliceRole = Literal["output", "input", "norm", "bias", "other"]


@dataclass(frozen=True, kw_only=True, eq=False)
class Slice:
    """The part of one dimension of one tensor that belongs to the channels of a group.

    Attributes:
        parameter: name of the parameter or buffer ("layer1.0.conv1.weight").
        dimension: of it that is cut.
        role: 'output' rows of a weight that make the channels (depthwise weights too), 'input' columns of a weight that
            read them, 'norm' per-channel tensors of a normalization (weight, bias, running_mean, running_var), 'bias'
            of a layer that makes the channels, 'other' per-channel parameters (PReLU's).
        index: of shape (channels, k), int64: row c holds the k positions that go with channel c; k > 1 where a channel
            stands for several (behind a flatten, in a grouped convolution).
    """

    parameter: str
    dimension: int
    role: SliceRole
    index: Tensor


@dataclass(frozen=True, kw_only=True, eq=False)
class ChannelGroup:
    """Channels that can be cut one by one, each with everything that hangs on it.

    Attributes:
        name: name of the first layer that makes the channels ("layer1.0.conv1").
        channels: how many units there are; unit c is row c of every slice's index, and what must be cut together (a
            residual sum, the same place of every group of a grouped convolution) is one unit.
        width: how many output channels of the layer called `name` one unit stands for; 1 in most groups.
        slices: everything that is cut; the same parameter may stand in several (a concatenation that reads twice).
    """

    name: str
    channels: int
    width: int = 1
    slices: tuple[Slice, ...]
