"""Raw pixels as the model's input: uint8 (N, H, W, C), with the normalisation inside the graph."""

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from tinyml.graph.network_outputs import Outputs


@dataclass(frozen=True, kw_only=True)
class PixelNormalization:
    """Mean and standard deviation per channel, of pixels scaled to 0-1."""

    mean: tuple[float, ...]
    std: tuple[float, ...]


class PixelInput(nn.Module):
    """Computes network((pixels / 255 - mean) / std) with one multiplication and one addition per pixel."""

    factor: Tensor
    offset: Tensor

    def __init__(self, network: nn.Module, normalization: PixelNormalization) -> None:
        super().__init__()
        mean, std = torch.tensor(normalization.mean).double(), torch.tensor(normalization.std).double()
        self.wrapped_network = network
        self.register_buffer("factor", (1.0 / (255.0 * std)).float())
        self.register_buffer("offset", (-mean / std).float())

    def forward(self, pixels: Tensor) -> Outputs:
        """Return the network's output, or those of its exits, for pixels (N, H, W, C) uint8."""
        normalised = pixels.to(torch.float32) * self.factor + self.offset
        # Without contiguous() the exporter bakes the permuted strides into a gather behind the network's flatten.
        output: Outputs = self.wrapped_network(normalised.permute(0, 3, 1, 2).contiguous())
        return output
