"""Which layers can be pruned weight by weight, and why the others cannot."""

import copy
from collections.abc import Sequence
from dataclasses import dataclass

from torch import Tensor, nn

from tinyml.graph.capture import LeftAlone, capture
from tinyml.layers.attachment import is_computed
from tinyml.layers.mask import Structure
from tinyml.numerics.sparsity import NOfM
from tinyml.passes.layer_patterns import why_left_out

CONVOLUTIONS = (nn.Conv1d, nn.Conv2d, nn.Conv3d, nn.ConvTranspose1d, nn.ConvTranspose2d, nn.ConvTranspose3d)
OTHERS = (nn.Embedding, nn.EmbeddingBag, nn.Bilinear, nn.RNNBase, nn.RNNCellBase, nn.MultiheadAttention)


@dataclass(frozen=True, kw_only=True, eq=False)
class Prunable:
    """A layer that can be pruned.

    Attributes:
        weight: as the network uses it, any shape.
        channels: number of output channels.
    """

    weight: Tensor
    channels: int

    @property
    def numel(self) -> int:
        """Number of weights."""
        return self.weight.numel()

    @property
    def most(self) -> int:
        """Most zeros that leave as many weights as there are output channels."""
        return self.numel - self.channels


def layer_names(module: nn.Module) -> list[str]:
    """Return the names that patterns may match: of the layers that can be pruned, and of those that never can."""
    kinds = (*CONVOLUTIONS, nn.Linear, *OTHERS)
    return [name for name, layer in module.named_modules() if isinstance(layer, kinds)]


def prunable_layers(
    module: nn.Module, *, include: Sequence[str], exclude: Sequence[str], structure: Structure
) -> tuple[dict[str, Prunable], list[LeftAlone]]:
    """Return the layers to prune by name, in the order of the modules, and the layers left alone.

    Args:
        module: may have masks already: their zeros are weights of magnitude 0.
        include: glob patterns of module names.
        exclude: glob patterns of module names.
        structure: N:M must divide the input channels of each output.
    """
    chosen: dict[str, Prunable] = {}
    left_alone = []
    entangled = _entangled(module)
    for name, layer in module.named_modules():
        if isinstance(layer, OTHERS):
            left_alone.append(LeftAlone(module=name, reason="neither a convolution nor a linear layer"))
        if isinstance(layer, nn.Linear):
            inputs, outputs = layer.in_features, layer.out_features
        elif isinstance(layer, CONVOLUTIONS):
            inputs, outputs = layer.in_channels // layer.groups, layer.out_channels
        else:
            continue
        reason = why_left_out(name, include=include, exclude=exclude)
        if not reason and is_computed(layer):
            reason = "its weight is computed from other parameters (weight norm, spectral norm)"
        if reason := reason or entangled.get(name, "") or _misfit(inputs, structure):
            left_alone.append(LeftAlone(module=name, reason=reason))
        else:
            chosen[name] = Prunable(weight=layer.weight.detach(), channels=outputs)
    return chosen, left_alone


def _misfit(inputs: int, structure: Structure) -> str:
    """Return why N:M does not fit so many input channels, or "" where it does."""
    if not isinstance(structure, NOfM) or inputs % structure.of == 0:
        return ""
    return f"{structure} does not fit: each output reads {inputs} input channels, no multiple of {structure.of}"


def _entangled(module: nn.Module) -> dict[str, str]:
    """Return why a mask would not hold, by the name of the layer, for layers whose weight is used elsewhere as well."""
    return {**_read_beside(module), **_shared(module)}


def _shared(module: nn.Module) -> dict[str, str]:
    holders: dict[int, list[str]] = {}
    for name, layer in module.named_modules():
        for parameter in layer.parameters(recurse=False):
            holders.setdefault(id(parameter), []).append(name)
    reasons = {}
    for name, layer in module.named_modules():
        weight = dict(layer.named_parameters(recurse=False)).get("weight")
        if others := [holder for holder in holders.get(id(weight), []) if holder != name]:
            reasons[name] = f"it shares its weight with '{others[0]}'"
    return reasons


def _read_beside(module: nn.Module) -> dict[str, str]:
    """Find weights that the model's own code reads: a trace would freeze the value that a mask gives there."""
    graph_module = capture(copy.deepcopy(module)).graph_module
    if graph_module is None:
        return {}  # its code runs as it is
    read = [str(node.target) for node in graph_module.graph.nodes if node.op == "get_attr"]
    names = (target.removesuffix(".weight") for target in read if target.endswith(".weight"))
    return dict.fromkeys(names, "the model's code reads its weight beside calling it")
