"""What a layer is made of along its channels: the parts of its tensors that go with them, and its attributes after."""

from collections.abc import Iterator

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize

from tinyml.graph.channel_dependencies import Place
from tinyml.graph.channel_groups import Slice, SliceRole
from tinyml.graph.layer_types import BatchNorm, ChannelNorm, Convolution, InstanceNorm, LastNorm, TransposedConvolution

_NORM_TENSORS = ("weight", "bias", "running_mean", "running_var")


class Unsuited(Exception):
    """The positions are not ones that can be cut from this layer; others may be."""


def layer_fault(layer: nn.Module) -> str:
    """Return why this layer cannot be cut whatever the positions, "" where it can."""
    if parametrize.is_parametrized(layer):
        return "its weight is computed from other parameters (weight norm, spectral norm)"
    if isinstance(layer, Convolution | nn.Linear):
        own = dict(layer.named_parameters(recurse=False))
        return "" if "weight" in own else "its weight is computed from other parameters (weight norm, spectral norm)"
    if isinstance(layer, LastNorm) and len(layer.normalized_shape) != 1:
        return f"it normalizes over {len(layer.normalized_shape)} dimensions at once"
    if isinstance(layer, ChannelNorm | LastNorm | nn.PReLU):
        return "" if any(True for _ in _tensors(layer)) else f"a {type(layer).__name__} without weights is not cut"
    return f"a {type(layer).__name__} is not cut"


def place_size(model: nn.Module, place: Place) -> int:
    """Return the number of positions (channels, features) at a place."""
    if place.side == "parameter":
        return model.get_parameter(place.name).shape[place.dimension]
    layer = model.get_submodule(place.name)
    if isinstance(layer, Convolution):
        return layer.in_channels if place.side == "input" else layer.out_channels
    if isinstance(layer, nn.Linear):
        return layer.in_features if place.side == "input" else layer.out_features
    return next((tensor.shape[0] for _, tensor in _tensors(layer)), 0)


def place_slices(model: nn.Module, place: Place, index: Tensor) -> list[Slice]:
    """Return the slices of a place whose layer has no `layer_fault`.

    Args:
        model: the network.
        place: in it.
        index: (channels, k) the positions there of every channel.

    Raises:
        Unsuited: The layer's groups would not stay equal, or positions do not exist or come twice.
    """
    size = place_size(model, place)
    if int(index.max()) >= size or int(torch.bincount(index.flatten()).max()) > 1:
        raise Unsuited(f"'{place.name}' has {size} positions and not those that its neighbours have")
    if place.side == "parameter":
        return [Slice(parameter=place.name, dimension=place.dimension, role="other", index=index)]
    layer = model.get_submodule(place.name)
    if isinstance(layer, Convolution):
        return _convolution_slices(place, layer, index)
    if isinstance(layer, nn.Linear):
        return _weighted(place, layer, dimension=0 if place.side == "output" else 1, index=index, outputs=index)
    if isinstance(layer, nn.GroupNorm):
        _within_groups(place.name, index, size, layer.num_groups)
    role: SliceRole = "other" if isinstance(layer, nn.PReLU) else "norm"
    return [Slice(parameter=f"{place.name}.{name}", dimension=0, role=role, index=index) for name, _ in _tensors(layer)]


def _convolution_slices(place: Place, layer: Convolution, index: Tensor) -> list[Slice]:
    """Return the slices of a convolution (C_out, C_in / groups, ...), or transposed (C_in, C_out / groups, ...)."""
    whole = "input" if isinstance(layer, TransposedConvolution) else "output"  # the side that dimension 0 lists in full
    size = layer.in_channels if place.side == "input" else layer.out_channels
    if layer.groups == 1 or is_depthwise(layer):
        dimension = 0 if place.side == whole or layer.groups > 1 else 1
        return _weighted(place, layer, dimension=dimension, index=index, outputs=index)
    inside = _within_groups(place.name, index, size, layer.groups)
    if place.side == whole:
        return _weighted(place, layer, dimension=0, index=index, outputs=index)
    return _weighted(place, layer, dimension=1, index=inside, outputs=index)


def _weighted(
    place: Place, layer: Convolution | nn.Linear, *, dimension: int, index: Tensor, outputs: Tensor
) -> list[Slice]:
    role: SliceRole = "output" if place.side == "output" else "input"
    slices = [Slice(parameter=f"{place.name}.weight", dimension=dimension, role=role, index=index)]
    if place.side == "output" and layer.bias is not None:
        slices.append(Slice(parameter=f"{place.name}.bias", dimension=0, role="bias", index=outputs))
    return slices


def _within_groups(name: str, index: Tensor, size: int, groups: int) -> Tensor:
    """Return (channels, k / groups) positions inside a group, where every row has the same ones in every group.

    Raises:
        Unsuited: Rows have others: cutting them would leave groups of different sizes.
    """
    width = size // groups
    by_group = index.sort(dim=1).values
    if index.shape[1] % groups:
        raise Unsuited(f"'{name}' works in {groups} groups, which must stay equal")
    by_group = by_group.reshape(len(index), groups, -1)
    expected = torch.arange(groups).reshape(1, groups, 1)
    if not bool((by_group // width == expected).all() and (by_group % width == by_group[:, :1] % width).all()):
        raise Unsuited(f"'{name}' works in {groups} groups, which must stay equal")
    return by_group[:, 0] % width


def is_depthwise(layer: nn.Module) -> bool:
    """Return whether a layer is a convolution that treats every channel by itself."""
    return isinstance(layer, Convolution) and 1 < layer.groups == layer.in_channels == layer.out_channels


def refresh_attributes(layer: nn.Module, *, depthwise: bool) -> None:
    """Make a layer's numbers of channels those of its tensors, in place; `depthwise`: it was so before the cut."""
    if isinstance(layer, Convolution):
        first, second = layer.weight.shape[:2]
        layer.groups = first if depthwise else layer.groups
        sides = (second * layer.groups, first)
        layer.in_channels, layer.out_channels = sides[::-1] if isinstance(layer, TransposedConvolution) else sides
    elif isinstance(layer, nn.Linear):
        layer.out_features, layer.in_features = layer.weight.shape
    elif isinstance(layer, nn.PReLU):
        layer.num_parameters = len(layer.weight)
    elif isinstance(layer, LastNorm):
        layer.normalized_shape = tuple(next(_tensors(layer))[1].shape)
    elif isinstance(layer, nn.GroupNorm):
        layer.num_channels = len(next(_tensors(layer))[1])
    elif isinstance(layer, BatchNorm | InstanceNorm):
        layer.num_features = len(next(_tensors(layer))[1])


def _tensors(layer: nn.Module) -> Iterator[tuple[str, Tensor]]:
    """Yield the tensors of a norm (or PReLU) that have one value for each channel."""
    for name in _NORM_TENSORS:
        tensor = getattr(layer, name, None)
        if isinstance(tensor, Tensor):
            yield name, tensor
