"""Where a network can be left early: the values through which all of it passes.

A value is a cut when every path of tensors from the input to the output goes through it, so that it alone is all that
the rest needs: it dominates the output. With p(v) paths from the input to v and q(v) from v to the output that is

    p(v) q(v) = p(output)

in whole numbers. Parameters carry no data, nor do sizes (`x.shape[0]`), which are the same everywhere. Values with no
weighted layer between them are one cut, the last of them that has most dimensions: behind BatchNorm, ReLU and pooling,
before a flattening. Left out are cuts before the first weighted layer, and those with at most one behind them, which is
the classifier: an exit there would cost as much as going on.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Any, final

import torch
from torch import Tensor, fx
from torch.fx.passes.shape_prop import TensorMetadata

from tinyml.graph.capture import propagate_shapes
from tinyml.graph.channel_axis import channels_last
from tinyml.graph.node_macs import ancestors, node_macs
from tinyml.graph.operations import is_tensor

BATCH = 3
"""Inputs at once while shapes are looked at: the batch must be the first dimension of what is cut."""


@dataclass(frozen=True, kw_only=True)
class CutPoint:
    """A value that is all that the rest of the network needs.

    Attributes:
        node: its name in the graph.
        names: of the modules whose output it is, the outermost first, and of nodes; any of them names the cut.
        shape: of one example's value: (C, H, W), (C, L), (T, D), (H, W, C) or (D,).
        channels_last: whether the channels are the last dimension: tokens (T, D), images (H, W, C).
        macs: of all that it is computed from, for one input.
        network_macs: of the whole network, for one input.
    """

    node: str
    names: tuple[str, ...]
    shape: tuple[int, ...]
    channels_last: bool
    macs: int
    network_macs: int

    @property
    def name(self) -> str:
        """The name to show."""
        return self.names[0]

    @property
    def share(self) -> float:
        """The share (0-1) of the network's MACs."""
        return self.macs / max(1, self.network_macs)


def find_cut_points(graph_module: fx.GraphModule, input_shape: tuple[int, ...]) -> tuple[CutPoint, ...]:
    """Return the cuts of a captured network with one output, in the order of its data; none where there are none.

    Args:
        graph_module: in eval mode; the shape of every value is left at its node.
        input_shape: of one input without the batch.
    """
    macs = node_macs(graph_module, input_shape)
    parameter = next(graph_module.parameters(), torch.empty(()))
    example = torch.zeros(BATCH, *input_shape, device=parameter.device, dtype=parameter.dtype)
    propagate_shapes(graph_module, example)
    written = _written_over(graph_module, example)
    weighted = {node for node in macs if macs[node] or _has_weights(node, graph_module)}
    names, needs = _names(graph_module), {node: ancestors(node) for node in _dominators(graph_module)}
    cuts = []
    for count, run in groupby(needs, key=lambda node: len(needs[node] & weighted)):
        nodes = list(run)
        readable = [node for node in nodes if node not in written and _can_be_read(node)]
        if readable and 0 < count < len(weighted) - 1:
            most = max(len(_shape(node)) for node in readable)
            chosen = [node for node in readable if len(_shape(node)) == most][-1]
            cuts.append(
                CutPoint(
                    node=chosen.name,
                    names=_in_order(names, [chosen, *reversed([node for node in nodes if node is not chosen])]),
                    shape=_shape(chosen),
                    channels_last=channels_last(chosen, graph_module),
                    macs=sum(macs[node] for node in needs[chosen]),
                    network_macs=sum(macs.values()),
                )
            )
    return tuple(cuts)


def evenly_spread(cuts: Sequence[CutPoint], count: int) -> tuple[CutPoint, ...]:
    """Return `count` of the cuts, at most all, each nearest to its place when the MACs are shared out evenly."""
    chosen: list[CutPoint] = []
    start = 0
    for index in range(count):
        left = cuts[start : len(cuts) - (count - index - 1)]
        best = min(left, key=lambda cut: abs(cut.share - (index + 1) / (count + 1)))
        start = cuts.index(best) + 1
        chosen.append(best)
    return tuple(chosen)


def _dominators(graph_module: fx.GraphModule) -> list[fx.Node]:
    """Return the nodes with one tensor through which every path from the input to the output goes, in order."""
    nodes = list(graph_module.graph.nodes)
    (output,) = (node for node in nodes if node.op == "output")
    paths_to = {node: int(node.op == "placeholder" and is_tensor(node)) for node in nodes}
    for node in nodes:
        paths_to[node] += sum(paths_to[source] for source in node.all_input_nodes if _carries(source))
    paths_on = dict.fromkeys(nodes, 0) | {output: 1}
    for node in reversed(nodes):
        if node is not output and _carries(node):
            paths_on[node] = sum(paths_on[user] for user in node.users)
    return [
        node
        for node in nodes
        if node.op not in ("placeholder", "output") and is_tensor(node) and paths_to[node]
        if paths_to[node] * paths_on[node] == paths_to[output]
    ]


def _carries(node: fx.Node) -> bool:
    """Return whether the node gives data: a tensor, or several."""
    return node.op != "get_attr" and "tensor_meta" in node.meta


def _can_be_read(node: fx.Node) -> bool:
    """Return whether a head can read the value: one row for each example, of at most 3 dimensions."""
    return node.meta["tensor_meta"].shape[:1] == (BATCH,) and 0 < len(_shape(node)) <= 3


def _has_weights(node: fx.Node, graph_module: fx.GraphModule) -> bool:
    """Return whether the node calls a module with a matrix or kernel of weights."""
    called = node.op == "call_module"
    return called and any(each.ndim > 1 for each in graph_module.get_submodule(str(node.target)).parameters())


@final
class _Versions(fx.Interpreter):
    """Runs a graph and notes how often each tensor had been written to when it was made."""

    def __init__(self, graph_module: fx.GraphModule) -> None:
        super().__init__(graph_module)
        self.made: dict[fx.Node, tuple[Tensor, int]] = {}

    def run_node(self, n: fx.Node) -> Any:
        given = super().run_node(n)
        if isinstance(given, Tensor):
            self.made[n] = (given, given._version)
        return given


def _written_over(graph_module: fx.GraphModule, example: Tensor) -> set[fx.Node]:
    """Return the nodes whose tensor something writes to later, by way of a view, too: it spoils a head's gradients."""
    run = _Versions(graph_module)
    with torch.no_grad():
        run.run(example)
    found = {node for node, (tensor, version) in run.made.items() if tensor._version > version}
    in_training = [node for node in graph_module.graph.nodes if _is_in_place(node, graph_module)]  # dropout, only there
    return found | {source for node in in_training for source in node.all_input_nodes}


def _is_in_place(node: fx.Node, graph_module: fx.GraphModule) -> bool:
    called = node.op == "call_module"
    return called and bool(getattr(graph_module.get_submodule(str(node.target)), "inplace", False))


def _shape(node: fx.Node) -> tuple[int, ...]:
    """Return the shape of one example's value."""
    meta = node.meta["tensor_meta"]
    assert isinstance(meta, TensorMetadata)
    return tuple(meta.shape[1:])


def _names(graph_module: fx.GraphModule) -> dict[fx.Node, list[str]]:
    """Return the names of the modules whose output each node is, the outermost first."""
    last: dict[str, fx.Node] = {}
    for node in graph_module.graph.nodes:
        for path, (module, _) in (node.meta.get("nn_module_stack") or {}).items():
            last[module or path] = node
    names: dict[fx.Node, list[str]] = {}
    for module, node in last.items():
        names.setdefault(node, []).append(module)
    return names


def _in_order(names: dict[fx.Node, list[str]], nodes: Sequence[fx.Node]) -> tuple[str, ...]:
    """Return all names of the nodes once: those of modules by their depth, then the nodes' own."""
    modules = sorted((name for node in nodes for name in names.get(node, [])), key=lambda name: name.count("."))
    return tuple(dict.fromkeys([*modules, *(node.name for node in nodes)]))
