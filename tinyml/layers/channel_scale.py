"""One factor for each output channel of a weight: where BatchNorm's goes that must not change the values before it."""

from typing import ClassVar, final

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize

from tinyml.layers.attachment import Attachment


@final
class ChannelScale(Attachment):
    """weight (C_out, ...) -> factor * weight. The factor is not trained: what it scales (a codebook) is.

    Buffers: factor, float32 (C_out,), of any sign.
    """

    commutes_with_scaling: ClassVar[bool] = True
    factor: Tensor

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.register_buffer("factor", torch.ones(channels))

    def forward(self, weight: Tensor) -> Tensor:
        """Return the weight with each output channel multiplied, same shape."""
        return weight * self.factor.reshape(-1, *[1] * (weight.ndim - 1))

    def fault(self, weight: Tensor) -> str:
        """Return that a factor is not finite; see `Attachment.fault`."""
        broken = int((~torch.isfinite(self.factor)).sum())
        return f"{broken} factors of its channels are not finite" if broken else ""


def scale_channels(layer: nn.Module, factor: Tensor) -> None:
    """Multiply each output channel of the layer's weight, behind all that is attached to it; factor (C_out,)."""
    scale = channel_scale(layer)
    if scale is None:
        scale = ChannelScale(len(factor)).to(factor.device)
        parametrize.register_parametrization(layer, "weight", scale, unsafe=True)
    scale.factor.mul_(factor.to(scale.factor.dtype))


def channel_scale(layer: nn.Module) -> ChannelScale | None:
    """Return the channel scale on the layer's weight, if there is one."""
    if not parametrize.is_parametrized(layer, "weight"):
        return None
    chain = layer.get_submodule("parametrizations.weight")
    return next((each for each in chain.children() if isinstance(each, ChannelScale)), None)
