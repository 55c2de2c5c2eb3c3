"""Which layers' weights can be changed one by one, pruned or shared, and why those of the others cannot."""

import copy
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from tinyml.graph.capture import LeftAlone, capture
from tinyml.graph.layer_types import Convolution
from tinyml.graph.shared_parameters import parameter_names
from tinyml.layers.attachment import is_computed
from tinyml.layers.mask import Structure, input_axis, masks
from tinyml.numerics.sparsity import NOfM
from tinyml.passes.layer_patterns import why_left_out

OTHERS = (nn.Embedding, nn.EmbeddingBag, nn.Bilinear, nn.RNNBase, nn.RNNCellBase, nn.MultiheadAttention)


@dataclass(frozen=True, kw_only=True, eq=False)
class WeightLayer:
    """A layer whose weights can be changed one by one.

    Attributes:
        weight: as the network uses it, any shape.
        channels: number of output channels.
        input_axis: axis of the input channels in the weight.
        kept: bool of the weight's shape, false where an earlier pass has pruned.
    """

    weight: Tensor
    channels: int
    input_axis: int
    kept: Tensor

    @property
    def numel(self) -> int:
        """Number of weights."""
        return self.weight.numel()

    @property
    def most(self) -> int:
        """Most zeros that leave as many weights as there are output channels."""
        return self.numel - self.channels

    @property
    def pruned(self) -> int:
        """Number of weights that an earlier pass has pruned."""
        return self.numel - int(self.kept.count_nonzero())


def layer_names(module: nn.Module) -> list[str]:
    """Return the names that patterns may match: of the layers that can be changed, and of those that never can."""
    kinds = (Convolution | nn.Linear, *OTHERS)
    return [name for name, layer in module.named_modules() if isinstance(layer, kinds)]


def weight_layers(
    module: nn.Module, *, include: Sequence[str], exclude: Sequence[str], structure: Structure = "unstructured"
) -> tuple[dict[str, WeightLayer], list[LeftAlone]]:
    """Return the layers to change by name, in the order of the modules, and the layers left alone.

    Args:
        module: may have masks already.
        include: glob patterns of module names.
        exclude: glob patterns of module names.
        structure: of the zeros; N:M must divide the input channels of each output.
    """
    chosen: dict[str, WeightLayer] = {}
    left_alone = []
    entangled, earlier = _entangled(module), dict(masks(module))
    for name, layer in module.named_modules():
        if isinstance(layer, OTHERS):
            left_alone.append(LeftAlone(module=name, reason="neither a convolution nor a linear layer"))
        if isinstance(layer, nn.Linear):
            inputs, outputs = layer.in_features, layer.out_features
        elif isinstance(layer, Convolution):
            inputs, outputs = layer.in_channels // layer.groups, layer.out_channels
        else:
            continue
        reason = why_left_out(name, include=include, exclude=exclude)
        if not reason and is_computed(layer):
            reason = "its weight is computed from other parameters (weight norm, spectral norm)"
        if reason := reason or entangled.get(name, "") or _misfit(inputs, structure):
            left_alone.append(LeftAlone(module=name, reason=reason))
        else:
            weight = layer.weight.detach()
            kept = earlier[name].mask if name in earlier else torch.ones_like(weight, dtype=torch.bool)
            chosen[name] = WeightLayer(weight=weight, channels=outputs, input_axis=input_axis(layer), kept=kept)
    return chosen, left_alone


def _misfit(inputs: int, structure: Structure) -> str:
    """Return why N:M does not fit so many input channels, or "" where it does."""
    if not isinstance(structure, NOfM) or inputs % structure.of == 0:
        return ""
    return f"{structure} does not fit: each output reads {inputs} input channels, no multiple of {structure.of}"


def _entangled(module: nn.Module) -> dict[str, str]:
    """Return why a mask or a codebook would not hold, by name, for layers whose weight is used elsewhere as well."""
    return {**_read_beside(module), **_shared(module)}


def _shared(module: nn.Module) -> dict[str, str]:
    reasons = {}
    for names in parameter_names(module, every_place=False).values():
        holders = [name.rpartition(".")[0] for name in names]
        for holder, name in zip(holders, names, strict=True):
            others = [other for other in holders if other != holder]
            if others and name.rpartition(".")[2] == "weight":
                reasons[holder] = f"it shares its weight with '{others[0]}'"
    return reasons


def _read_beside(module: nn.Module) -> dict[str, str]:
    """Find weights that the model's own code reads: a trace would freeze the value that they have there."""
    graph_module = capture(copy.deepcopy(module)).graph_module
    if graph_module is None:
        return {}  # its code runs as it is
    read = [str(node.target) for node in graph_module.graph.nodes if node.op == "get_attr"]
    names = (target.removesuffix(".weight") for target in read if target.endswith(".weight"))
    return dict.fromkeys(names, "the model's code reads its weight beside calling it")
