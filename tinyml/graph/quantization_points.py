"""Where quantizers go so that the runtime fuses them into integer kernels.

A value is put on a grid when an integer layer reads it, when a convolution makes it, or when it is an operand or the
result of arithmetic that runs in integers. Between a layer and its ReLU there is no quantizer: the one behind the
ReLU clamps. Both inputs and the output of a residual add are on a grid. Reshapes, slices, zero padding and max pools
share their input's grid. An add with an operand that nothing else needs on a grid (the residual stream of a
transformer) stays in float. A linear layer whose result only float operations read gives it in float; so the logits
are never rounded. What no integer kernel takes (norms, softmax, GELU, products of two values) stays in float and is
listed.
"""

import operator
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from typing import get_args

import torch
import torch.nn.functional as F
from torch import fx, nn

from tinyml.graph.capture import LeftAlone, modules_called, propagate_shapes
from tinyml.graph.layer_types import ChannelNorm, LastNorm
from tinyml.graph.operations import WEIGHTED, WITHOUT_INTEGER_KERNEL, Operation, is_tensor, operation, tensor_inputs

MOVES = (Operation.CARRY, Operation.ALIAS)
FUNCTIONAL_LAYERS = (
    F.linear, F.bilinear, F.conv1d, F.conv2d, F.conv3d, F.conv_transpose1d, F.conv_transpose2d, F.conv_transpose3d,
    F.scaled_dot_product_attention, torch.matmul, torch.bmm, torch.einsum, operator.matmul,
)  # fmt: skip
STAYS_IN_FLOAT = (
    *get_args(ChannelNorm), *get_args(LastNorm),
    nn.GELU, nn.SiLU, nn.Mish, nn.ELU, nn.SELU, nn.LeakyReLU, nn.PReLU, nn.Softplus, nn.Sigmoid, nn.Tanh, nn.Hardswish,
    nn.Hardsigmoid, nn.Hardtanh, nn.GLU, nn.CELU, nn.Softsign, nn.LogSigmoid, nn.Threshold,
    nn.Softmax, nn.Softmax2d, nn.Softmin, nn.LogSoftmax, nn.Upsample,
    nn.AvgPool1d, nn.AdaptiveAvgPool1d, nn.AdaptiveMaxPool1d, nn.AdaptiveMaxPool2d,
)  # fmt: skip
FLOAT_FUNCTIONS = (
    F.layer_norm, F.batch_norm, F.group_norm, F.instance_norm, F.rms_norm, F.normalize,
    F.gelu, F.silu, F.mish, F.elu, F.leaky_relu, F.softplus, F.hardswish, F.hardsigmoid, F.glu, F.sigmoid, F.tanh,
    F.selu, F.celu, F.prelu, F.hardtanh, F.softsign, F.logsigmoid, F.adaptive_avg_pool1d, F.avg_pool1d,
    F.softmax, F.softmin, F.log_softmax, F.interpolate, torch.softmax, torch.log_softmax, torch.sigmoid, torch.tanh,
)  # fmt: skip
FLOAT_METHODS = ("softmax", "log_softmax", "sigmoid", "tanh")


@dataclass(frozen=True, kw_only=True)
class Plan:
    """Quantizers to attach: groups of nodes that share one grid, weighted modules, and modules to treat alone."""

    activations: tuple[tuple[str, ...], ...] = ()
    weights: tuple[str, ...] = ()
    standalone: tuple[str, ...] = ()
    left_alone: tuple[LeftAlone, ...] = ()


def plan_graph(graph_module: fx.GraphModule, example: torch.Tensor, excluded: frozenset[str]) -> Plan:
    """Return the plan for a traced model.

    Args:
        graph_module: the traced model.
        example: one input batch (N, ...).
        excluded: names of modules to leave alone.
    """
    propagate_shapes(graph_module, example)
    return _Planner(graph_module, excluded).plan()


def plan_modules(model: nn.Module, example: torch.Tensor, excluded: frozenset[str], *, within: str) -> Plan:
    """Return the plan for the layers below the module named `within` ("" for all), which are treated one by one.

    A layer that the model never calls on the example (a fused kernel reads its weight instead) is left alone.
    """
    prefix = f"{within}." if within else ""
    named = [(name, module) for name, module in model.named_modules() if name.startswith(prefix)]
    layers = {name: module for name, module in named if isinstance(module, WEIGHTED) and name not in excluded}
    called = _called(model, example, layers)
    idle = (LeftAlone(module=name, reason="its forward is never called") for name in layers if name not in called)
    alone = tuple(name for name in layers if name in called)
    return Plan(standalone=alone, left_alone=(*idle, *_without_kernel(named)))


@torch.no_grad()
def _called(model: nn.Module, example: torch.Tensor, layers: Mapping[str, nn.Module]) -> set[str]:
    called: set[str] = set()
    hooks = [layer.register_forward_pre_hook(lambda *_, n=name: called.add(n)) for name, layer in layers.items()]
    try:
        model(example)
    finally:
        for hook in hooks:
            hook.remove()
    return called


def _without_kernel(named: list[tuple[str, nn.Module]]) -> tuple[LeftAlone, ...]:
    missing = tuple(
        LeftAlone(module=name, reason=f"onnxruntime has no integer kernel for {type(module).__name__}")
        for name, module in named
        if isinstance(module, WITHOUT_INTEGER_KERNEL)
    )
    floating = tuple(
        LeftAlone(module=name, reason=f"{type(module).__name__} stays in float")
        for name, module in named
        if isinstance(module, STAYS_IN_FLOAT) and not isinstance(module, nn.ReLU6)  # which is a Hardtanh
    )
    return (*missing, *floating)


class _Planner:
    """Finds the least set of values on a grid that satisfies the rules of the module docstring."""

    def __init__(self, graph_module: fx.GraphModule, excluded: frozenset[str]) -> None:
        self.modules = dict(graph_module.named_modules())
        self.calls = modules_called(graph_module)
        self.nodes = [node for node in graph_module.graph.nodes if node.op != "output"]
        self.roles = {node: operation(node, self.modules) for node in self.nodes}
        for name in excluded & self.calls.keys():
            self.roles.update(dict.fromkeys(self.calls[name], Operation.FLOATING))
        self.on_grid: set[fx.Node] = set()

    def plan(self) -> Plan:
        """Grow the set until nothing changes, then group it."""
        size = -1
        while size != len(self.on_grid):
            size = len(self.on_grid)
            for node in self.nodes:
                self._visit(node)
        weights = tuple(n for n, nodes in self.calls.items() if self.roles[nodes[0]] is Operation.WEIGHTED)
        called = [(name, self.modules[name]) for name in self.calls]
        left = (*_without_kernel(called), *self._functional_layers())
        return Plan(activations=self._groups(), weights=weights, left_alone=left)

    def _visit(self, node: fx.Node) -> None:
        role, sources = self.roles[node], tensor_inputs(node)
        if role is Operation.WEIGHTED:
            self._require(sources[0])
            if not isinstance(self.modules[str(node.target)], nn.Linear):
                self._require(self._behind_rectifier(node))
        elif role in (Operation.ADD, Operation.COMBINE, Operation.POOL) and self._runs_in_integers(role, sources):
            for value in (*sources, self._behind_rectifier(node)):
                self._require(value)
        elif role in MOVES and node in self.on_grid:
            self._require(sources[0])

    def _runs_in_integers(self, role: Operation, sources: list[fx.Node]) -> bool:
        if any(source.op == "get_attr" for source in sources):
            return False
        ready = [self._origin(source) in self.on_grid for source in sources]
        willing = [on or self._is_linear(source) for on, source in zip(ready, sources, strict=True)]
        return any(ready) if role is Operation.COMBINE else any(ready) and all(willing)

    def _origin(self, node: fx.Node) -> fx.Node:
        """Return the node whose value this one moves or selects from."""
        while self.roles.get(node) in MOVES and node not in self.on_grid:
            node = tensor_inputs(node)[0]
        return node

    def _is_linear(self, node: fx.Node) -> bool:
        return self.roles[node] is Operation.WEIGHTED

    def _require(self, node: fx.Node) -> None:
        """Put the value on a grid; a tuple of tensors passes the requirement on to what it was split from."""
        self.on_grid.add(node)

    def _behind_rectifier(self, node: fx.Node) -> fx.Node:
        """Return the ReLU that alone reads this value, or the node itself."""
        users = list(node.users)
        alone = len(users) == 1 and self.roles.get(users[0]) is Operation.RECTIFIER
        return users[0] if alone else node

    def _groups(self) -> tuple[tuple[str, ...], ...]:
        """Return the nodes on a grid, those that carry one grid together, in graph order."""
        leader: dict[fx.Node, fx.Node] = {}
        groups: dict[fx.Node, list[str]] = {}
        for node in self.nodes:
            if node not in self.on_grid:
                continue
            leader[node] = leader[tensor_inputs(node)[0]] if self.roles[node] in MOVES else node
            if is_tensor(node) and self.roles[node] is not Operation.ALIAS:
                groups.setdefault(leader[node], []).append(node.name)
        return tuple(tuple(names) for names in groups.values())

    def _functional_layers(self) -> list[LeftAlone]:
        reason = "a functional call has no module to attach a quantizer to"
        layers = [
            LeftAlone(module=node.name, reason=f"{reason} ({_called_name(node)})")
            for node in self.nodes
            if _calls(node, FUNCTIONAL_LAYERS, ("matmul", "bmm"))
        ]
        floating = [
            LeftAlone(module=node.name, reason=f"{_called_name(node)} stays in float")
            for node in self.nodes
            if _calls(node, FLOAT_FUNCTIONS, FLOAT_METHODS)
        ]
        return [*layers, *floating]


def _calls(node: fx.Node, functions: Collection[Callable[..., object]], methods: Collection[str]) -> bool:
    if node.op == "call_function":
        return node.target in functions
    return node.op == "call_method" and node.target in methods


def _called_name(node: fx.Node) -> str:
    return str(getattr(node.target, "__name__", node.target))
