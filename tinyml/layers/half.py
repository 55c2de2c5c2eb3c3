"""Half precision inside, float32 outside: casts at the inputs and outputs of a network whose parameters are float16."""

from typing import Any

import torch
from torch import nn


class HalfPrecisionNetwork(nn.Module):
    """Runs `network`, cast to float16, on float32 inputs; gives float32 outputs."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.wrapped_network = network.half()

    def forward(self, x: torch.Tensor) -> Any:
        """Return the network's outputs as float32; x float32 of any shape the network takes."""
        return _to_float(self.wrapped_network(x.to(torch.float16)))


def _to_float(value: Any) -> Any:
    if isinstance(value, torch.Tensor) and value.is_floating_point():
        return value.to(torch.float32)
    if isinstance(value, (tuple, list)):
        return type(value)(_to_float(item) for item in value)
    return value
