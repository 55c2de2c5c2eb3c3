"""The layers of a model that are stored for integer arithmetic: those whose weight and input are both on a grid."""

from dataclasses import dataclass

import torch
from torch import Tensor, fx, nn

from tinyml.graph.operations import Operation, operation
from tinyml.layers.quantizers import ActivationQuantizer, WeightQuantizer, weight_quantizers

ACCUMULATOR_MAX = 2**31 - 1
"""Largest int32, the type of a bias and of the sums it is added to."""


@dataclass(frozen=True, kw_only=True)
class IntegerLayer:
    """A Conv or Linear module with its quantizers; a module that is called twice has several input quantizers."""

    name: str
    layer: nn.Module
    weight_quantizer: WeightQuantizer
    weight: Tensor
    input_quantizers: tuple[ActivationQuantizer, ...]


def integer_layers(model: nn.Module) -> list[IntegerLayer]:
    """Return the integer layers of the model, in the order of its modules."""
    inputs = _graph_inputs(model) if isinstance(model, fx.GraphModule) else {}
    found = []
    for name, (quantizer, weight) in weight_quantizers(model).items():
        layer = model.get_submodule(name)
        own = getattr(layer, "input_quantizer", None)
        quantizers = (own,) if isinstance(own, ActivationQuantizer) else tuple(inputs.get(name, ()))
        if quantizers:
            found.append(
                IntegerLayer(
                    name=name, layer=layer, weight_quantizer=quantizer, weight=weight, input_quantizers=quantizers
                )
            )
    return found


def _graph_inputs(graph_module: fx.GraphModule) -> dict[str, list[ActivationQuantizer]]:
    modules = dict(graph_module.named_modules())
    inputs: dict[str, list[ActivationQuantizer]] = {}
    for node in graph_module.graph.nodes:
        if node.op != "call_module" or not node.all_input_nodes:
            continue
        source = node.all_input_nodes[0]
        while operation(source, modules) is Operation.ALIAS:  # a dropout between the quantizer and the layer
            source = source.all_input_nodes[0]
        quantizer = modules.get(str(source.target)) if source.op == "call_module" else None
        if isinstance(quantizer, ActivationQuantizer):
            inputs.setdefault(str(node.target), []).append(quantizer)
    return inputs


@torch.no_grad()
def widen_for_biases(model: nn.Module) -> None:
    """Widen a channel's weight scale where its bias would not fit 32 bits.

    Afterwards |bias| <= scale_input * scale_weight * (2^31 - 1). Only channels whose weights
    are negligible beside their bias are touched; of a frozen layer, none.
    """
    for layer, bias in _with_bias(model):
        scale_input = min(quantizer.scale.item() for quantizer in layer.input_quantizers)
        least = bias.abs().double() / (scale_input * ACCUMULATOR_MAX * 0.999)
        scale = layer.weight_quantizer.scale
        least = least if scale.ndim else least.amax()
        scale.copy_(scale.double().maximum(least.to(scale.device)).float())


@torch.no_grad()
def snap_biases(model: nn.Module) -> None:
    """Round each bias to the grid that the file stores it on, scale_input * scale_weight, in place.

    A layer that is called on inputs of several scales has several grids; its bias stays as it is, and so does that of a
    frozen layer.
    """
    for layer, bias in _with_bias(model):
        scales = {quantizer.scale.item() for quantizer in layer.input_quantizers}
        if len(scales) == 1:
            step = scales.pop() * layer.weight_quantizer.scale.double()
            bias.copy_(torch.round(bias.double() / step) * step)


def _with_bias(model: nn.Module) -> list[tuple[IntegerLayer, nn.Parameter]]:
    """Return the integer layers that have a bias, but for frozen ones."""
    found = [(layer, layer.layer.bias) for layer in integer_layers(model)]
    return [(layer, bias) for layer, bias in found if isinstance(bias, nn.Parameter) and bias.requires_grad]
