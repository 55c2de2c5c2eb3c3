"""MACs of a captured graph, node by node: convolutions, linear layers and matrix products, for one input."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, final

import torch
from torch import fx
from torch.utils.flop_counter import FlopCounterMode


def node_macs(graph_module: fx.GraphModule, input_shape: tuple[int, ...]) -> dict[fx.Node, int]:
    """Return the MACs of every node, also where they are 0, for one input of this shape, in the order of the graph."""
    parameter = next(graph_module.parameters(), torch.empty(()))
    counter = _Counter(graph_module)
    with torch.no_grad(), _plain_attention(), counter.flops:
        counter.run(torch.zeros(1, *input_shape, device=parameter.device, dtype=parameter.dtype))
    return counter.macs


def macs_by_output(graph_module: fx.GraphModule, macs: Mapping[fx.Node, int]) -> tuple[int, ...]:
    """Return the MACs of an input that leaves at each output of a tuple: its own and all that the earlier ones need."""
    needed: set[fx.Node] = set()
    found = []
    for output in _outputs(graph_module):
        needed |= ancestors(output)
        found.append(sum(macs[node] for node in needed))
    return tuple(found)


def ancestors(node: fx.Node) -> set[fx.Node]:
    """Return the node and all that its value is computed from."""
    found, waiting = {node}, [node]
    while waiting:
        new = set(waiting.pop().all_input_nodes) - found
        found |= new
        waiting += new
    return found


def _outputs(graph_module: fx.GraphModule) -> Sequence[fx.Node]:
    (given,) = graph_module.graph.output_node().args
    return given if isinstance(given, list | tuple) else [given]  # type: ignore[list-item,return-value]  # nodes


@contextmanager
def _plain_attention() -> Iterator[None]:
    """Let torch's transformer layers run operator by operator: one fused operator cannot be counted."""
    before = torch.backends.mha.get_fastpath_enabled()
    torch.backends.mha.set_fastpath_enabled(False)
    try:
        yield
    finally:
        torch.backends.mha.set_fastpath_enabled(before)


@final
class _Counter(fx.Interpreter):
    """Runs a graph and notes what each node adds to torch's own count."""

    def __init__(self, graph_module: fx.GraphModule) -> None:
        super().__init__(graph_module)
        self.flops = FlopCounterMode(display=False)
        self.macs: dict[fx.Node, int] = {}

    def run_node(self, n: fx.Node) -> Any:
        """Return the value of the node; see `fx.Interpreter`."""
        before = self.flops.get_total_flops()
        value = super().run_node(n)
        self.macs[n] = (self.flops.get_total_flops() - before) // 2
        return value
