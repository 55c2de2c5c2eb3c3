"""Which layers share channels, by torch-pruning's dependency graph: its graph only, none of its selection or surgery.

A coupling starts at the outputs of one convolution or linear layer and takes in every side of every layer that has to
be cut with them (Fang et al. 2023, DepGraph, arXiv:2301.12900). The positions that torch-pruning gives are a proposal:
right through residual sums, concatenations and flattening, wrong through many reshapes.
"""

import warnings
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final, Literal, final

import torch
from torch import Tensor, nn
from torch_pruning import DependencyGraph, ops

Side = Literal["input", "output", "parameter"]
PRODUCERS: Final = (nn.modules.conv._ConvNd, nn.Linear)
"""Layers that produce channels of their own."""


@dataclass(frozen=True, kw_only=True)
class Place:
    """One side of a layer, or one dimension of a parameter that belongs to no layer known to torch-pruning.

    Attributes:
        name: of the layer, or of the parameter.
        side: 'input' or 'output' of a layer; a layer that keeps its channels (norms, depthwise) has only an output.
        dimension: of the parameter; 0 for a layer.
    """

    name: str
    side: Side
    dimension: int = 0


@dataclass(frozen=True, kw_only=True, eq=False)
class Coupling:
    """What hangs on the output channels of a layer.

    Attributes:
        layer: the first of the network that produces these channels; of a coupling without index, where it starts.
        index: (channels, k) int64 by place: where torch-pruning sees each channel. Empty where it does not see every
            channel of the layer equally often in every place.
        reach: every place that is connected, whatever the positions.
    """

    layer: str
    index: Mapping[Place, Tensor]
    reach: tuple[Place, ...]


@dataclass(frozen=True, kw_only=True, eq=False)
class Dependencies:
    """Every coupling of a network, and how often its forward calls each module (by name)."""

    couplings: tuple[Coupling, ...]
    calls: Mapping[str, int]


def trace_dependencies(model: nn.Module, example: Tensor) -> Dependencies:
    """Return the couplings of a network in the order of its modules.

    Args:
        model: in eval mode; every floating parameter must require a gradient, because the graph is that of autograd.
        example: one input batch (N, ...).

    Raises:
        Exception: whatever torch-pruning or the forward raises.
    """
    calls: Counter[str] = Counter()
    names = {module: name for name, module in model.named_modules()}

    def forward(network: nn.Module, inputs: Tensor) -> object:
        hooks = [
            module.register_forward_pre_hook(lambda *_, n=name: calls.update([n])) for module, name in names.items()
        ]
        try:
            return network(inputs)
        finally:
            for hook in hooks:
                hook.remove()

    with warnings.catch_warnings(), torch.enable_grad():
        warnings.simplefilter("ignore")  # what it does not understand is found by trial
        graph = _Graph().build_dependency(
            model, example, forward_fn=forward, verbose=False, ignored_layers=_single_slopes(model)
        )
        groups = list(graph.get_all_groups())
    label = {**names, **graph._param_to_name}
    order = {name: position for position, name in enumerate(names.values())}
    found = [_coupling(graph, group, label, order) for group in groups]
    return Dependencies(couplings=tuple(sorted(found, key=lambda each: order[each.layer])), calls=calls)


@final
class _Graph(DependencyGraph):  # type: ignore[misc]  # it carries no types
    """The dependency graph without guesses at reshapes of unknown sizes, which run wild behind channel shuffles."""

    def _trace(self, *args: Any, **settings: Any) -> dict[Any, Any]:
        nodes: dict[Any, Any] = super()._trace(*args, **settings)
        for node in nodes.values():
            if node.type == ops.OPTYPE.RESHAPE and not hasattr(node.grad_fn, "_saved_self_sizes"):
                node.type = ops.OPTYPE.ELEMENTWISE
        return nodes


def _single_slopes(model: nn.Module) -> list[nn.Module]:
    """Return the PReLUs with one slope for all channels, which otherwise tie the channels of all their callers."""
    return [layer for layer in model.modules() if isinstance(layer, nn.PReLU) and layer.num_parameters == 1]


def _coupling(graph: Any, group: Any, label: Mapping[Any, str], order: Mapping[str, int]) -> Coupling:
    """Return torch-pruning's group in our words; Any: its objects carry no types."""
    root = group[0].dep.target.module
    channels = len(group[0].idxs)
    index, producers = {}, [label[root]]
    for item in group:
        if item.dep.target.module in label:
            place = _place(graph, item.dep.target, item.dep.handler, label)
            index[place] = _rows(torch.tensor(item.idxs), torch.tensor(item.root_idxs), channels)
            if isinstance(item.dep.target.module, PRODUCERS) and place.side == "output":
                producers.append(place.name)
    if any(rows.numel() == 0 for rows in index.values()):
        index, producers = {}, [label[root]]
    first = min(producers, key=lambda name: order[name])
    return Coupling(layer=first, index=index, reach=_reach(graph, group[0].dep, label))


def _rows(positions: Tensor, channels_there: Tensor, channels: int) -> Tensor:
    """Return (channels, k), row c the positions of channel c in rising order; empty where channels differ in number."""
    counts = torch.bincount(channels_there, minlength=channels)
    if not bool((counts == counts[0]).all()):
        return torch.empty(channels, 0, dtype=torch.int64)
    order = torch.argsort(positions)
    order = order[torch.argsort(channels_there[order], stable=True)]
    return positions[order].reshape(channels, -1)


def _reach(graph: Any, start: Any, label: Mapping[Any, str]) -> tuple[Place, ...]:
    """Return the places that hang together whatever the positions: torch-pruning's walk without its index mapping."""
    stack = [(start.target, start.handler)]
    seen: list[tuple[Any, Callable[..., Any]]] = []
    while stack:
        node, handler = stack.pop()
        if (node, handler) in seen:
            continue
        seen.append((node, handler))
        stack += [(each.target, each.handler) for each in node.dependencies if each.is_triggered_by(handler)]
    places = [_place(graph, node, handler, label) for node, handler in seen if node.module in label]
    return tuple(dict.fromkeys(places))


def _place(graph: Any, node: Any, handler: Callable[..., Any], label: Mapping[Any, str]) -> Place:
    name = label[node.module]
    if isinstance(node.module, nn.Parameter):
        return Place(name=name, side="parameter", dimension=node.pruning_dim)
    return Place(name=name, side="output" if graph.is_out_channel_pruning_fn(handler) else "input")
