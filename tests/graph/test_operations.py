import pytest
import torch
import torch.nn.functional as F
from torch import fx, nn

from tinyml.graph.operations import Operation, operation


def role(wiring) -> Operation:
    """The role of the one operation that `wiring` applies to x (and y)."""

    def forward(x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
        return wiring(x, y)

    graph = fx.symbolic_trace(forward).graph
    for node in graph.nodes:
        if node.op == "placeholder":
            node.meta["tensor_meta"] = None  # shape propagation found a tensor here
    return operation(next(node for node in graph.nodes if node.op.startswith("call")), {})


@pytest.mark.parametrize(
    ("wiring", "expected"),
    [
        (lambda x, y: x + y, Operation.ADD),
        (lambda x, y: torch.add(x, y), Operation.ADD),
        (lambda x, y: x + 1, Operation.FLOATING),
        (lambda x, y: x + x, Operation.FLOATING),
        (lambda x, y: x * y, Operation.COMBINE),
        (lambda x, y: x * 0.5, Operation.FLOATING),
        (lambda x, y: torch.cat([x, y], 1), Operation.COMBINE),
        (lambda x, y: x.relu(), Operation.RECTIFIER),
        (lambda x, y: F.relu6(x), Operation.RECTIFIER),
        (lambda x, y: F.leaky_relu(x), Operation.FLOATING),
        (lambda x, y: F.max_pool2d(x, 2), Operation.CARRY),
        (lambda x, y: F.pad(x, (1, 1)), Operation.CARRY),
        (lambda x, y: F.pad(x, (1, 1), "constant", 0), Operation.CARRY),
        (lambda x, y: F.pad(x, (1, 1), value=2.0), Operation.FLOATING),
        (lambda x, y: F.pad(x, (1, 1), mode="reflect"), Operation.FLOATING),
        (lambda x, y: x.view(1, -1), Operation.CARRY),
        (lambda x, y: F.avg_pool2d(x, 2), Operation.POOL),
        (lambda x, y: F.dropout(x, 0.5, False), Operation.ALIAS),
        (lambda x, y: x - y, Operation.FLOATING),
        (lambda x, y: torch.sin(x), Operation.FLOATING),
    ],
    ids="add,add by name,plus a number,x + x,product,times a number,concatenation,relu,relu6,leaky relu,max pool,pad,"
    "pad with 0,pad with 2,reflect,view,average pool,dropout,difference,sine".split(","),
)
def test_a_role(wiring, expected: Operation):
    assert role(wiring) is expected


@pytest.mark.parametrize(
    ("module", "expected"),
    [
        (nn.Conv1d(1, 1, 1), Operation.WEIGHTED),
        (nn.Conv2d(1, 1, 1), Operation.WEIGHTED),
        (nn.Linear(1, 1), Operation.WEIGHTED),
        (nn.Conv3d(1, 1, 1), Operation.FLOATING),
        (nn.ConvTranspose2d(1, 1, 1), Operation.FLOATING),
        (nn.BatchNorm2d(1), Operation.FLOATING),
        (nn.ReLU(), Operation.RECTIFIER),
        (nn.Identity(), Operation.ALIAS),
        (nn.MaxPool2d(2), Operation.CARRY),
        (nn.AdaptiveAvgPool2d(1), Operation.POOL),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, nn.Module) else "",
)
def test_the_role_of_a_module(module: nn.Module, expected: Operation):
    graph = fx.Graph()
    node = graph.call_module("m", (graph.placeholder("x"),))
    assert operation(node, {"m": module}) is expected
