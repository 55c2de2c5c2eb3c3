"""Fold a BatchNorm into the convolution or linear layer before it, in eval mode.

    weight' = weight * gamma / sqrt(variance + epsilon)        along the output channels
    bias'   = (bias - mean) * gamma / sqrt(variance + epsilon) + beta

Source: Jacob et al. 2018, section 3.2. A pair folds only when nobody else sees the value between the two and nobody
else shares the layer's parameters. Behind a parametrization the product is written into the original weight, where
every parametrization on it says that it commutes with a factor for each output channel (`commutes_with_scaling`). Where
one says that it does not (a codebook, whose values would change), the factor goes behind it.
"""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, fx, nn
from torch.nn.utils import parametrize

from tinyml.graph.capture import modules_called
from tinyml.graph.layer_types import BatchNorm, PlainConvolution
from tinyml.graph.shared_parameters import parameter_names


def foldable_pairs(graph_module: fx.GraphModule) -> list[tuple[str, str]]:
    """Return (layer, batch norm) module names, in graph order, that can be folded exactly.

    Linear layers need the shapes that `propagate_shapes` leaves: over (N, L, C) a BatchNorm1d normalises L, not C.
    """
    calls = modules_called(graph_module)
    modules = dict(graph_module.named_modules())
    names = parameter_names(graph_module, every_place=False)
    pairs = []
    for layer, nodes in calls.items():
        weight = _trained_weight(modules[layer])
        if not isinstance(modules[layer], PlainConvolution | nn.Linear) or weight is None or len(names[weight]) != 1:
            continue
        followers = {user for node in nodes for user in node.users}
        if any(len(node.users) != 1 for node in nodes) or any(user.op != "call_module" for user in followers):
            continue
        norms = {str(user.target) for user in followers}
        flat = all("tensor_meta" in node.meta and len(node.meta["tensor_meta"].shape) == 2 for node in nodes)
        if len(norms) == 1 and _folds(modules[layer], modules[next(iter(norms))], flat=flat):
            norm = norms.pop()
            if all(source.all_input_nodes[0] in nodes for source in calls[norm]):
                pairs.append((layer, norm))
    return pairs


def _trained_weight(layer: nn.Module) -> nn.Parameter | None:
    """Return the weight under its parametrizations; None where one does not say what it does, as weight norm."""
    if not parametrize.is_parametrized(layer, "weight"):
        return dict(layer.named_parameters(recurse=False)).get("weight")
    chain = layer.get_submodule("parametrizations.weight")
    known = all(hasattr(each, "commutes_with_scaling") for each in chain.children())
    return chain.get_parameter("original") if known else None


def _commutes(layer: nn.Module) -> bool:
    """Return whether a factor on the trained weight is the same as one on the weight that the layer uses."""
    if not parametrize.is_parametrized(layer, "weight"):
        return True
    return all(each.commutes_with_scaling for each in layer.get_submodule("parametrizations.weight").children())


def _folds(layer: nn.Module, norm: nn.Module, *, flat: bool) -> bool:
    """Return whether the norm has running statistics over just the layer's output channels; `flat`: (N, C) values."""
    if not isinstance(norm, BatchNorm) or norm.running_mean is None:
        return False
    if isinstance(layer, nn.Linear):
        return flat and isinstance(norm, nn.BatchNorm1d) and norm.num_features == layer.out_features
    return norm.num_features == layer.out_channels


def fold(
    graph_module: fx.GraphModule,
    pairs: list[tuple[str, str]],
    *,
    scale_behind: Callable[[nn.Module, Tensor], None],
) -> None:
    """Fold every (layer, batch norm) pair in place and remove the batch norms from the graph.

    Args:
        graph_module: The captured network.
        pairs: From `foldable_pairs`.
        scale_behind: Multiplies a layer's output channels by factors (C_out,) behind its weight's parametrizations.
    """
    modules = dict(graph_module.named_modules())
    calls = modules_called(graph_module)
    for layer_name, norm_name in pairs:
        _fold_values(modules[layer_name], modules[norm_name], scale_behind)
        for node in calls[norm_name]:
            node.replace_all_uses_with(node.all_input_nodes[0])
            graph_module.graph.erase_node(node)
        graph_module.delete_submodule(norm_name)
    graph_module.graph.lint()
    graph_module.recompile()


@torch.no_grad()
def _fold_values(layer: Any, norm: Any, scale_behind: Callable[[nn.Module, Tensor], None]) -> None:
    """Write the formula of the module docstring; Any: attributes of unions that torch types loosely."""
    factor = torch.rsqrt(norm.running_var.double() + norm.eps)
    if norm.weight is not None:
        factor = factor * norm.weight.double()
    shift = -norm.running_mean.double() * factor
    if norm.bias is not None:
        shift = shift + norm.bias.double()
    weight = _trained_weight(layer)
    assert weight is not None  # foldable_pairs left the others out
    if _commutes(layer):
        weight.copy_((weight.double() * factor.reshape(-1, *[1] * (weight.ndim - 1))).to(weight.dtype))
    else:
        scale_behind(layer, factor)
    bias = shift if layer.bias is None else layer.bias.double() * factor + shift
    layer.bias = nn.Parameter(bias.to(weight.dtype), requires_grad=weight.requires_grad)
