"""Run a network again and again with one unit changed, without computing what lies before it again.

The graph is walked once for a batch. Where a unit's tensors are first read, the values that the rest still needs are
kept; each run starts from them. Operations and their inputs are those of the whole forward, so the outputs are, too.
A network that torch.fx cannot trace is run as a whole each time.
"""

import copy
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, final

import torch
from torch import Tensor, fx, nn
from torch.utils import _pytree as tree

from tinyml.analysis.sensitivity.units import Unit, find_tensor
from tinyml.graph.capture import capture
from tinyml.graph.network_outputs import final_output

Environment = dict[fx.Node, Any]
"""Whatever the operations of a graph return, by their nodes."""


@final
@dataclass(frozen=True, kw_only=True, eq=False)
class Visit:
    """A unit whose turn it is in a walk, and the rest of the network for it: `outputs` may be called many times."""

    unit: Unit
    outputs: Callable[[], Tensor]


class Forward(ABC):
    """A network, ready for walks over batches."""

    @abstractmethod
    def visits(self, inputs: Tensor, units: Sequence[Unit]) -> Iterator[Visit]:
        """Yield every unit once, in the order in which the network meets them; take one visit before the next."""

    @abstractmethod
    def reads(self, unit: Unit) -> bool:
        """Return whether the network reads the unit's tensors at all."""


def forward_of(module: nn.Module, example: Tensor) -> Forward:
    """Return the network's forward, split where it can be traced.

    Args:
        module: in eval mode; keeps its own tensors, which may be changed while a visit runs.
        example: a small batch (N, ...), to see which operations change their inputs in place.
    """
    graph_module = capture(module).graph_module
    if graph_module is None:
        return WholeForward(module)
    return SplitForward(module, graph_module, example)


@final
class WholeForward(Forward):
    """A network that has no graph."""

    def __init__(self, module: nn.Module) -> None:
        self._module = module

    def visits(self, inputs: Tensor, units: Sequence[Unit]) -> Iterator[Visit]:
        """Yield every unit with the whole forward."""
        for unit in units:
            yield Visit(unit=unit, outputs=lambda: final_output(self._module(inputs.clone())))

    def reads(self, unit: Unit) -> bool:
        """Return True: nobody can tell."""
        return True


@final
class SplitForward(Forward):
    """A network whose graph is known."""

    def __init__(self, module: nn.Module, graph_module: fx.GraphModule, example: Tensor) -> None:
        self._module = module  # the graph has only those layers that are called
        self._interpreter = _Interpreter(graph_module, garbage_collect_values=True)
        self._nodes = [node for node in graph_module.graph.nodes if node.op != "placeholder"]
        self._reads = [_tensors_read(graph_module, node) for node in self._nodes]
        self._in_place = self._changes_in_place(example.clone())

    def reads(self, unit: Unit) -> bool:
        """Return whether any node of the graph reads the unit's tensors."""
        return self._cut(unit) < len(self._nodes)

    def visits(self, inputs: Tensor, units: Sequence[Unit]) -> Iterator[Visit]:
        """Yield the units by the place where they are first read."""
        values = self._interpreter.start(inputs)
        done = 0
        for cut, unit in sorted(((self._cut(unit), unit) for unit in units), key=lambda pair: pair[0]):
            cut = min(cut, len(self._nodes) - 1)  # what nothing reads changes nothing: the output node is enough
            self._interpreter.run_nodes(self._nodes[done:cut], values)
            done = cut
            yield Visit(unit=unit, outputs=partial(self._rest, cut, values))

    def _rest(self, cut: int, values: Environment) -> Tensor:
        """Return the outputs from the values before the node `cut`, which stay as they are."""
        spoilt = any(first < cut <= place for place, first in self._in_place)
        own = copy.deepcopy(list(values.values())) if spoilt else values.values()
        return final_output(self._interpreter.run_nodes(self._nodes[cut:], dict(zip(values, own, strict=True))))

    def _cut(self, unit: Unit) -> int:
        """Return the index of the first node that reads one of the unit's tensors; the number of nodes if none does."""
        wanted = {id(find_tensor(self._module, name)) for name in unit.tensors}
        return next((index for index, read in enumerate(self._reads) if wanted & read), len(self._nodes))

    def _changes_in_place(self, example: Tensor) -> list[tuple[int, int]]:
        """Return (index of a node, index of an earlier node whose value it changes); -1 stands for the inputs."""
        with torch.no_grad():
            values = self._interpreter.start(example)
            made = dict.fromkeys(values, -1)
            pairs = []
            for index, node in enumerate(self._nodes):
                before = {earlier: _versions(value) for earlier, value in values.items()}
                self._interpreter.run_nodes([node], values, keep=True)
                pairs += [(index, made[each]) for each, seen in before.items() if seen != _versions(values[each])]
                made[node] = index
        return pairs


class _Interpreter(fx.Interpreter):
    """Runs any stretch of a graph on given values."""

    def start(self, inputs: Tensor) -> Environment:
        """Return the values of the graph's inputs; all but the first take their defaults."""
        self.args_iter = iter((inputs,))
        return {node: self.run_node(node) for node in self.graph.nodes if node.op == "placeholder"}

    def run_nodes(self, nodes: Iterable[fx.Node], values: Environment, *, keep: bool = False) -> Any:
        """Run the nodes on `values`, in place, and return what the last gave; drop values after their last use."""
        self.env = values
        result: Any = None
        for node in nodes:
            result = values[node] = self.run_node(node)
            for used in [] if keep else self.user_to_last_uses.get(node, []):
                del values[used]
        return result


def _tensors_read(graph_module: fx.GraphModule, node: fx.Node) -> frozenset[int]:
    """Return the identities of the parameters and buffers that a node reads."""
    if node.op == "call_module":
        called = graph_module.get_submodule(str(node.target))
        return frozenset(id(each) for each in (*called.parameters(), *called.buffers()))
    if node.op == "get_attr":
        place, _, last = str(node.target).rpartition(".")
        return frozenset({id(getattr(graph_module.get_submodule(place), last))})
    return frozenset()


def _versions(value: object) -> list[int]:
    """Return how often each tensor in a value was changed in place."""
    return [each._version for each in tree.tree_leaves(value) if isinstance(each, Tensor)]
