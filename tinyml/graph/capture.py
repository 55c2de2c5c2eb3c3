"""Capture a module as a torch.fx graph with Conv, Linear and BatchNorm modules as leaves.

A submodule whose forward cannot be traced (control flow on data, an attention block that calls a fused kernel)
becomes an opaque leaf: it runs as it is, and passes treat the modules inside it one by one. When the root itself
cannot be traced there is no graph, and the whole model is treated module by module. Names of modules and parameters
never change.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import fx, nn
from torch.fx.passes.shape_prop import ShapeProp
from torch.nn.utils import parametrize

from tinyml.errors import first_line


@dataclass(frozen=True, kw_only=True)
class LeftAlone:
    """A module that a pass does not transform, and why."""

    module: str
    reason: str


@dataclass(frozen=True, kw_only=True)
class Capture:
    """What capture found: the module to go on with, and the submodules that stayed opaque."""

    module: nn.Module
    opaque: tuple[LeftAlone, ...]

    @property
    def graph_module(self) -> fx.GraphModule | None:
        """The traced module, or None where the root could not be traced."""
        return self.module if isinstance(self.module, fx.GraphModule) else None


class _Tracer(fx.Tracer):
    """Traces through user modules; remembers the innermost one whose forward failed."""

    def __init__(self, opaque: frozenset[str]) -> None:
        super().__init__()
        self.opaque = opaque
        self.culprit: str | None = None

    def is_leaf_module(self, m: nn.Module, module_qualified_name: str) -> bool:
        if module_qualified_name in self.opaque:
            return True
        kind = type(m).__mro__[1] if parametrize.is_parametrized(m) else type(m)
        return kind.__module__.startswith("torch.nn") and not isinstance(m, nn.Sequential)

    def call_module(
        self, m: nn.Module, forward: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> Any:
        try:
            return super().call_module(m, forward, args, kwargs)
        except Exception:
            if self.culprit is None:
                self.culprit = self.path_of_module(m)
            raise


def capture(model: nn.Module) -> Capture:
    """Return the model as a GraphModule in eval mode that shares its parameters, or itself where it does not trace."""
    if isinstance(model, fx.GraphModule):
        return Capture(module=model, opaque=_opaque_calls(model, {}))
    model.eval()
    opaque: dict[str, str] = {}
    while True:
        tracer = _Tracer(frozenset(opaque))
        try:
            graph = tracer.trace(model)
        except Exception as error:  # whatever a user's forward raises under tracing
            reason = f"its forward cannot be traced ({first_line(error)})"
            if tracer.culprit is None or tracer.culprit in opaque:
                return Capture(module=model, opaque=(LeftAlone(module="", reason=reason),))
            opaque[tracer.culprit] = reason
            continue
        captured = fx.GraphModule(model, graph)
        captured.eval()
        return Capture(module=captured, opaque=_opaque_calls(captured, opaque))


def _opaque_calls(graph_module: fx.GraphModule, reasons: dict[str, str]) -> tuple[LeftAlone, ...]:
    """Return the modules that the graph calls in one piece: those with a reason, and any with modules inside."""
    left = []
    for name in modules_called(graph_module):
        module = graph_module.get_submodule(name)
        if name in reasons or any(child != "parametrizations" for child, _ in module.named_children()):
            reason = reasons.get(name, f"{type(module).__name__} runs in one piece")
            left.append(LeftAlone(module=name, reason=reason))
    return tuple(left)


def propagate_shapes(graph_module: fx.GraphModule, example: torch.Tensor) -> None:
    """Run one input batch (N, ...) through the graph and leave the shape of every value at its node, in place."""
    with torch.no_grad():
        ShapeProp(graph_module).propagate(example)


def modules_called(graph_module: fx.GraphModule) -> dict[str, list[fx.Node]]:
    """Return the call_module nodes of every module by its qualified name, in graph order."""
    calls: dict[str, list[fx.Node]] = {}
    for node in graph_module.graph.nodes:
        if node.op == "call_module":
            calls.setdefault(str(node.target), []).append(node)
    return calls
