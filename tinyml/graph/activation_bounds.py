"""Between which bounds the activation function behind a layer keeps its value."""

import math

import torch.nn.functional as F
from torch import fx, nn

from tinyml.graph.capture import modules_called
from tinyml.graph.operations import Operation, operation

UNBOUNDED = (-math.inf, math.inf)


def bounds_behind(graph_module: fx.GraphModule, layer: str) -> tuple[float, float]:
    """Return (0, inf) where a ReLU alone reads what the layer gives, (0, 6) for a ReLU6, else (-inf, inf).

    A layer that is called several times has bounds where all its calls have the same.
    """
    modules = dict(graph_module.named_modules())
    found = {_bounds(node, modules) for node in modules_called(graph_module).get(layer, [])}
    return found.pop() if len(found) == 1 else UNBOUNDED


def _bounds(node: fx.Node, modules: dict[str, nn.Module]) -> tuple[float, float]:
    users = list(node.users)
    if len(users) != 1 or operation(users[0], modules) is not Operation.RECTIFIER:
        return UNBOUNDED
    is_relu6 = users[0].target is F.relu6 or isinstance(modules.get(str(users[0].target)), nn.ReLU6)
    return (0.0, 6.0 if is_relu6 else math.inf)
