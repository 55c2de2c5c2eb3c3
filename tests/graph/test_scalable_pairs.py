import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils import parametrizations

from tinyml.graph.capture import capture, propagate_shapes
from tinyml.graph.scalable_pairs import scalable_pairs


def pairs_of(model: nn.Module, *shape: int) -> list[tuple[str, str, int]]:
    graph_module = capture(model.eval()).graph_module
    assert graph_module is not None
    propagate_shapes(graph_module, torch.zeros(2, *shape))
    return [(pair.first, pair.second, pair.repeats) for pair in scalable_pairs(graph_module)]


def conv(inputs: int = 4, outputs: int = 4, **settings: int) -> nn.Conv2d:
    return nn.Conv2d(inputs, outputs, 3, padding=1, **settings)


FOUND = {
    "nothing between": ([conv(), conv()], (4, 8, 8), 1),
    "ReLU": ([conv(), nn.ReLU(), conv()], (4, 8, 8), 1),
    "leaky ReLU": ([conv(), nn.LeakyReLU(), conv()], (4, 8, 8), 1),
    "dropout and pooling": ([conv(), nn.ReLU(), nn.Dropout2d(), nn.AvgPool2d(2), conv()], (4, 8, 8), 1),
    "into a depthwise convolution": ([conv(), nn.ReLU(), conv(groups=4)], (4, 8, 8), 1),
    "flattened": ([conv(), nn.ReLU(), nn.MaxPool2d(4), nn.Flatten(), nn.Linear(16, 3)], (4, 8, 8), 4),
    "pooled to one value": ([conv(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 3)], (4, 8, 8), 1),
    "tokens": ([nn.Linear(4, 6), nn.ReLU(), nn.Linear(6, 3)], (5, 4), 1),
    "signals": ([nn.Conv1d(1, 4, 3), nn.ReLU(), nn.MaxPool1d(2), nn.Conv1d(4, 2, 3)], (1, 12), 1),
}


@pytest.mark.parametrize("case", FOUND)
def test_two_layers_in_a_row_are_a_pair(case: str) -> None:
    layers, shape, repeats = FOUND[case]
    assert pairs_of(nn.Sequential(*layers), *shape) == [("0", str(len(layers) - 1), repeats)]


NONE = {
    "ReLU6": ([conv(), nn.ReLU6(), conv()], (4, 8, 8)),
    "hard swish": ([conv(), nn.Hardswish(), conv()], (4, 8, 8)),
    "GELU": ([conv(), nn.GELU(), conv()], (4, 8, 8)),
    "a BatchNorm": ([conv(), nn.BatchNorm2d(4), conv()], (4, 8, 8)),
    "a transposed convolution": ([conv(), nn.ReLU(), nn.ConvTranspose2d(4, 4, 2)], (4, 8, 8)),
    "a linear layer over the width": ([conv(), nn.ReLU(), nn.Linear(8, 3)], (4, 8, 8)),
    "tokens flattened": ([nn.Linear(4, 6), nn.ReLU(), nn.Flatten(), nn.Linear(30, 3)], (5, 4)),
    "tokens pooled over their channels": ([nn.Linear(4, 6), nn.MaxPool1d(2), nn.Linear(3, 3)], (5, 4)),
    "weight norm": ([parametrizations.weight_norm(conv()), nn.ReLU(), conv()], (4, 8, 8)),
}


@pytest.mark.parametrize("case", NONE)
def test_what_would_not_hand_the_factor_on_makes_no_pair(case: str) -> None:
    layers, shape = NONE[case]
    assert pairs_of(nn.Sequential(*layers), *shape) == []


class Branching(nn.Module):
    """A value that two read, a layer called twice, a residual, tied weights."""

    def __init__(self) -> None:
        super().__init__()
        self.read_twice, self.left, self.right = conv(), conv(), conv()
        self.called_twice, self.behind = conv(), conv()
        self.tied, self.tied_too, self.last = conv(), conv(), conv()
        self.tied_too.weight = self.tied.weight

    def forward(self, x: Tensor) -> Tensor:
        x = F.relu(self.read_twice(x))
        x = self.left(x) + self.right(x)
        x = self.behind(F.relu(self.called_twice(self.called_twice(x))))
        return self.last(F.relu(self.tied_too(self.tied(x + 1))))


def test_layers_that_others_use_too_make_no_pair() -> None:
    assert pairs_of(Branching(), 4, 8, 8) == []


def test_a_row_of_layers_is_a_row_of_pairs() -> None:
    model = nn.Sequential(conv(), nn.ReLU(), conv(groups=4), nn.ReLU(), conv())
    assert pairs_of(model, 4, 8, 8) == [("0", "2", 1), ("2", "4", 1)]
