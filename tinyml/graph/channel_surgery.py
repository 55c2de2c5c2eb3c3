"""Channel surgery: tensors with only the kept channels, and a model whose tensors and attributes have their sizes."""

import copy
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from tinyml.graph.channel_groups import ChannelGroup
from tinyml.graph.channel_layers import is_depthwise, refresh_attributes

Shapes = Mapping[str, tuple[int, ...]]
"""The shape of every tensor that changes, by its name in the state dict."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Cut:
    """A group and which of its channels stay: `kept` int64 in rising order, at least one."""

    group: ChannelGroup
    kept: Tensor

    @property
    def removed(self) -> Tensor:
        """The channels that go."""
        stays = torch.zeros(self.group.channels, dtype=torch.bool)
        stays[self.kept] = True
        return (~stays).nonzero().flatten()


def kept_tensors(tensors: Mapping[str, Tensor], cuts: Sequence[Cut]) -> dict[str, Tensor]:
    """Return the tensors that change, without the removed channels, the others in their order.

    Args:
        tensors: state dict of the uncut model.
        cuts: of different groups; they may touch the same tensor.
    """
    gone: dict[tuple[str, int], list[Tensor]] = {}
    for cut in cuts:
        for part in cut.group.slices:
            gone.setdefault((part.parameter, part.dimension), []).append(part.index[cut.removed].flatten())
    changed: dict[str, Tensor] = {}
    for (name, dimension), positions in gone.items():
        tensor = changed.get(name, tensors[name]).detach()
        stays = torch.ones(tensor.shape[dimension], dtype=torch.bool)
        stays[torch.cat(positions)] = False
        changed[name] = tensor.index_select(dimension, stays.nonzero().flatten().to(tensor.device))
    return changed


def permuted_tensors(tensors: Mapping[str, Tensor], orders: Sequence[tuple[ChannelGroup, Tensor]]) -> dict[str, Tensor]:
    """Return the tensors that change when channel order[c] of each group moves to place c; the function stays.

    Args:
        tensors: state dict of the model.
        orders: a group and a permutation (channels,) of it.
    """
    changed: dict[str, Tensor] = {}
    for group, order in orders:
        for part in group.slices:
            tensor = changed.get(part.parameter, tensors[part.parameter]).detach()
            source = torch.arange(tensor.shape[part.dimension])
            source[part.index.flatten()] = part.index[order].flatten()
            changed[part.parameter] = tensor.index_select(part.dimension, source.to(tensor.device))
    return changed


def resize(model: nn.Module, shapes: Shapes) -> None:
    """Give tensors of a model new, smaller shapes, filled with zeros, and layers the attributes that go with them.

    Raises:
        TypeError: A tensor has another number of dimensions or would grow: the model is not the one that was cut.
    """
    for name, shape in shapes.items():
        path, _, attribute = name.rpartition(".")
        owner = model.get_submodule(path)
        old = getattr(owner, attribute)
        if old.ndim != len(shape) or any(new > size or new < 1 for new, size in zip(shape, old.shape, strict=True)):
            raise TypeError(f"'{name}' is of shape {tuple(old.shape)}, which cannot be cut to {tuple(shape)}")
        new = old.new_zeros(shape)
        setattr(owner, attribute, nn.Parameter(new, old.requires_grad) if isinstance(old, nn.Parameter) else new)
    for path in {name.rpartition(".")[0] for name in shapes}:
        layer = model.get_submodule(path)
        refresh_attributes(layer, depthwise=is_depthwise(layer))


def without_channels(model: nn.Module, cuts: Sequence[Cut]) -> nn.Module:
    """Return a model without the removed channels; it shares the tensors that stay whole with the one given."""
    shared = {id(tensor): tensor for tensor in (*model.parameters(), *model.buffers())}
    smaller = copy.deepcopy(model, shared)
    changed = kept_tensors(model.state_dict(), cuts)
    resize(smaller, {name: tuple(tensor.shape) for name, tensor in changed.items()})
    own = smaller.state_dict(keep_vars=True)
    with torch.no_grad():
        for name, tensor in changed.items():
            own[name].copy_(tensor)
    return smaller
