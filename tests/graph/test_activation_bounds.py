from math import inf

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from tinyml.graph.activation_bounds import bounds_behind
from tinyml.graph.capture import capture


def bounds(model: nn.Module, layer: str = "0") -> tuple[float, float]:
    graph_module = capture(model).graph_module
    assert graph_module is not None
    return bounds_behind(graph_module, layer)


@pytest.mark.parametrize(
    ("activation", "expected"),
    [(nn.ReLU(), (0, inf)), (nn.ReLU6(), (0, 6)), (nn.GELU(), (-inf, inf)), (nn.Identity(), (-inf, inf))],
    ids=["ReLU", "ReLU6", "GELU", "none"],
)
def test_an_activation_function_has_its_bounds(activation: nn.Module, expected: tuple[float, float]) -> None:
    assert bounds(nn.Sequential(nn.Linear(2, 2), activation)) == expected


class Functional(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.relu, self.relu6, self.added, self.both = (nn.Linear(2, 2) for _ in range(4))

    def forward(self, x: Tensor) -> Tensor:
        x = F.relu(self.relu(x)) + F.relu6(self.relu6(x))
        x = F.relu(x + self.added(x))
        return torch.relu(self.both(x)) + F.relu6(self.both(x))


@pytest.mark.parametrize(
    ("layer", "expected"),
    [("relu", (0, inf)), ("relu6", (0, 6)), ("added", (-inf, inf)), ("both", (-inf, inf))],
    ids=["ReLU", "ReLU6", "an addition before it", "two calls that differ"],
)
def test_functions_count_like_modules(layer: str, expected: tuple[float, float]) -> None:
    assert bounds(Functional(), layer) == expected
