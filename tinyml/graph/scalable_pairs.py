"""Pairs of layers between which each channel may take a factor that the second layer takes out again.

Between the two stand only operations with f(s x) = s f(x) for s > 0 that keep channels apart: ReLU, leaky ReLU, dropout
and, behind a convolution, pooling and flattening. Nobody else reads a value on the way, and nothing else uses the
layers or their parameters.
"""

import math
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import fx, nn
from torch.nn.utils import parametrize

from tinyml.graph.capture import modules_called
from tinyml.graph.operations import Operation, operation
from tinyml.graph.shared_parameters import parameter_names

ScalableLayer = nn.Conv1d | nn.Conv2d | nn.Linear

RECTIFIERS = (nn.ReLU, nn.LeakyReLU, nn.PReLU, F.relu, F.leaky_relu, torch.relu, torch.relu_, "relu", "relu_")
POOLS = (
    nn.MaxPool1d, nn.MaxPool2d, nn.AvgPool1d, nn.AvgPool2d,
    nn.AdaptiveMaxPool1d, nn.AdaptiveMaxPool2d, nn.AdaptiveAvgPool1d, nn.AdaptiveAvgPool2d,
    F.max_pool1d, F.max_pool2d, F.avg_pool1d, F.avg_pool2d, F.adaptive_avg_pool1d, F.adaptive_avg_pool2d,
)  # fmt: skip
FLATTENS = (nn.Flatten, torch.flatten, "flatten")


@dataclass(frozen=True, kw_only=True)
class ScalablePair:
    """Names of two layers; channel c of the first feeds inputs c * repeats ... (c + 1) * repeats - 1 of the second."""

    first: str
    second: str
    repeats: int = 1


def scalable_pairs(graph_module: fx.GraphModule) -> list[ScalablePair]:
    """Return the pairs, in graph order; `propagate_shapes` must have run."""
    modules = dict(graph_module.named_modules())
    own = _layers_of_their_own(graph_module, modules)
    return [
        ScalablePair(first=str(node.target), second=str(last.target), repeats=repeats)
        for node in own
        for last, repeats in _follow(node, own, modules)
    ]


def scalable_weight(layer: nn.Module) -> nn.Parameter | None:
    """Return the parameter that takes a factor for each channel; None where the effective weight does not follow it."""
    if not parametrize.is_parametrized(layer, "weight"):
        return dict(layer.named_parameters(recurse=False)).get("weight")
    chain = layer.get_submodule("parametrizations.weight")
    commutes = all(getattr(each, "commutes_with_scaling", False) for each in chain.children())
    return chain.get_parameter("original") if commutes else None


def _layers_of_their_own(graph_module: fx.GraphModule, modules: dict[str, nn.Module]) -> dict[fx.Node, ScalableLayer]:
    """Return the layers that are called once and share no parameter, by their call."""
    names = parameter_names(graph_module, every_place=True)
    own = {}
    for name, nodes in modules_called(graph_module).items():
        layer = modules[name]
        alone = len(nodes) == 1 and all(len(names[parameter]) == 1 for parameter in layer.parameters())
        if alone and isinstance(layer, ScalableLayer) and scalable_weight(layer) is not None:
            own[nodes[0]] = layer
    return own


def _follow(
    node: fx.Node, own: dict[fx.Node, ScalableLayer], modules: dict[str, nn.Module]
) -> list[tuple[fx.Node, int]]:
    """Return the layer that alone reads what this one gives, and the repeats of each channel; [] where none does."""
    is_convolution, repeats = not isinstance(own[node], nn.Linear), 0
    channels = len(own[node].weight)
    while len(node.users) == 1:
        node = next(iter(node.users))
        if node in own:
            reads_rows = isinstance(own[node], nn.Linear)
            return [(node, repeats or 1)] if reads_rows == (repeats > 0 or not is_convolution) else []
        if is_convolution and _is(node, FLATTENS, modules) and not repeats:
            shape, before = node.meta["tensor_meta"].shape, node.all_input_nodes[0].meta["tensor_meta"].shape
            if len(shape) != 2 or before[1] != channels:
                return []
            repeats = math.prod(before[2:])
        elif not (
            _is(node, RECTIFIERS, modules)
            or operation(node, modules) is Operation.ALIAS
            or (is_convolution and not repeats and _is(node, POOLS, modules))
        ):
            return []
    return []


def _is(node: fx.Node, kinds: tuple[object, ...], modules: dict[str, nn.Module]) -> bool:
    if node.op == "call_module":
        types = tuple(kind for kind in kinds if isinstance(kind, type))
        return isinstance(modules[str(node.target)], types)
    return node.op in ("call_function", "call_method") and node.target in kinds
