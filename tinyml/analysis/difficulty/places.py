"""Where a network's features are read: behind each layer with a matrix or kernel of weights, and at its output.

Of a network that can be traced, a layer's features are the last value of as many dimensions as its own that it alone
leads to: behind its BatchNorm, activation and pooling, and behind the addition that ends a residual branch. Layers that
meet there share the place, which bears the name of the last of them. Of a network that cannot be traced they are what
the layer's module returns. The network's own answer is the last place, "(output)".

Features are pooled (tinyml/analysis/difficulty/pooling.py).
"""

import copy
from abc import ABC, abstractmethod
from collections.abc import Callable, Collection
from dataclasses import dataclass
from functools import partial
from typing import Any, Final, final

import torch
from torch import Tensor, fx, nn

from tinyml.analysis.difficulty.pooling import pooled
from tinyml.errors import TinymlError
from tinyml.graph.capture import LeftAlone, capture, propagate_shapes
from tinyml.graph.channel_axis import channels_last
from tinyml.graph.layer_types import Convolution
from tinyml.graph.network_outputs import final_output
from tinyml.graph.node_macs import ancestors
from tinyml.graph.operations import is_tensor
from tinyml.training.evaluation import move, placed

OUTPUT: Final = "(output)"
TRIAL: Final = 3
"""Inputs at once while shapes are looked at: features need a row for each."""
UNREADABLE: Final = "it gives no tensor with a row for each example"
_AGAIN: Final = " (call "


@final
@dataclass(frozen=True, kw_only=True)
class Place:
    """Where features are read.

    Attributes:
        name: of its last layer; "(input)" and "(output)" at the ends.
        layers: whose features these are; a module that is called again has the number of the call behind its name.
        features: how many each example has.
        order: rises from place to place; in a graph it is the node's index.
    """

    name: str
    layers: tuple[str, ...]
    features: int
    order: int


@final
@dataclass(frozen=True, kw_only=True, eq=False)
class Read:
    """Of a batch: the network's own outputs (n, classes) and the pooled features (n, F) by the name of the place."""

    outputs: Tensor
    features: dict[str, Tensor]


class Reader(ABC):
    """A copy of a network in eval mode whose features can be read.

    Attributes:
        places: in the order of the network, its output last.
        left_alone: layers whose features cannot be read, and why.
        graph: the traced network; None where it cannot be traced.
    """

    places: tuple[Place, ...]
    left_alone: tuple[LeftAlone, ...]
    graph: fx.GraphModule | None

    @abstractmethod
    def read(self, inputs: Tensor, wanted: Collection[str]) -> Read:
        """Return what the network computes for inputs (n, ...) at the wanted places.

        Raises:
            TinymlError: It calls a layer for some inputs only, and not for these.
        """


def reader_of(module: nn.Module, input_shape: tuple[int, ...], *, side: int = 1, device: str = "cpu") -> Reader:
    """Return a reader of the network; the module itself stays as it is.

    Args:
        module: any network.
        input_shape: of one input without the batch.
        side: regions along each side of an image whose means are features.
        device: where to compute.
    """
    own = copy.deepcopy(module).eval()
    graph_module = capture(own).graph_module
    if graph_module is None:
        reader: Reader = HookReader(own, input_shape, side)
    else:
        reader = GraphReader(graph_module, input_shape, side)
    move(own if graph_module is None else graph_module, torch.device(device), channels_last=True)
    return reader


@final
class GraphReader(Reader):
    """Reads the values of a traced network."""

    def __init__(self, graph_module: fx.GraphModule, input_shape: tuple[int, ...], side: int) -> None:
        self.graph, self._side = graph_module, side
        trial = _trial_inputs(graph_module, input_shape)
        propagate_shapes(graph_module, trial)
        given = graph_module.graph.output_node().args[0]
        self._output = given[-1] if isinstance(given, tuple | list) else given
        assert isinstance(self._output, fx.Node)
        layers, self.left_alone = _ends(graph_module, self._output)
        names = {node: own[-1] for node, own in layers.items()} | {self._output: OUTPUT}
        self._nodes = {names[node]: node for node in graph_module.graph.nodes if node in names}
        self._last = {node: channels_last(node, graph_module) for node in names}
        order = {node: index for index, node in enumerate(graph_module.graph.nodes)}
        features = self.read(trial, self._nodes).features
        self.places = tuple(
            Place(name=name, layers=tuple(layers.get(node, ())), features=features[name].shape[1], order=order[node])
            for name, node in self._nodes.items()
        )

    def read(self, inputs: Tensor, wanted: Collection[str]) -> Read:
        """Return what the graph computes."""
        assert self.graph is not None  # __init__ set it
        nodes = {self._nodes[name]: name for name in wanted}
        features: dict[str, Tensor] = {}

        def note(node: fx.Node, value: Any) -> None:
            if node in nodes:
                features[nodes[node]] = pooled(value, channels_last=self._last[node], side=self._side)

        with torch.no_grad():
            outputs = final_output(_Watched(self.graph, note).run(placed(inputs, self.graph)))
        return Read(outputs=outputs.float(), features=features)


@final
class HookReader(Reader):
    """Reads what the modules of a network return."""

    def __init__(self, module: nn.Module, input_shape: tuple[int, ...], side: int) -> None:
        self.graph, self._module, self._side = None, module, side
        self._layers = {name: layer for name, layer in module.named_modules() if _is_layer(layer)}
        values: dict[str, Any] = {}
        output = self._run(_trial_inputs(module, input_shape), values.__setitem__)
        self.places = (
            *(
                Place(name=name, layers=(name,), features=self._pooled(name, value).shape[1], order=index)
                for index, (name, value) in enumerate(values.items())
                if _is_readable(value) and value is not output
            ),
            Place(
                name=OUTPUT,
                layers=tuple(name for name, value in values.items() if value is output),
                features=output.shape[1],
                order=len(values),
            ),
        )
        reasons = {name: "" if _is_readable(value) else UNREADABLE for name, value in values.items()}
        reasons |= {name: "the network does not call it" for name in self._layers if name not in values}
        self.left_alone = tuple(LeftAlone(module=name, reason=reason) for name, reason in reasons.items() if reason)

    def read(self, inputs: Tensor, wanted: Collection[str]) -> Read:
        """Return what the modules return."""
        features: dict[str, Tensor] = {}

        def note(name: str, value: Any) -> None:
            if name in wanted:
                features[name] = self._pooled(name, value)

        output = self._run(placed(inputs, self._module), note).float()
        if OUTPUT in wanted:
            features[OUTPUT] = output.clone()
        if missing := [name for name in wanted if name not in features]:
            raise TinymlError(
                f"the network calls '{missing[0]}' for some inputs and not for others, which then have no features "
                "there: name the other layers with --layers"
            )
        return Read(outputs=output, features=features)

    def _run(self, inputs: Tensor, note: Callable[[str, Any], None]) -> Tensor:
        """Return the network's answer; `note` is given the name of each call of a layer with what it returned."""
        calls: dict[str, int] = {}

        def hook(name: str, _layer: nn.Module, _inputs: object, value: Any) -> None:
            calls[name] = calls.get(name, 0) + 1
            note(_call(name, calls[name]), value)

        handles = [layer.register_forward_hook(partial(hook, name)) for name, layer in self._layers.items()]
        try:
            with torch.no_grad():
                return final_output(self._module(inputs))
        finally:
            for handle in handles:
                handle.remove()

    def _pooled(self, name: str, value: Tensor) -> Tensor:
        layer = self._layers[name.partition(_AGAIN)[0]]
        return pooled(value, channels_last=not isinstance(layer, Convolution), side=self._side)


class _Watched(fx.Interpreter):
    """Runs a graph and hands on each value, before anything can write over it."""

    def __init__(self, graph_module: fx.GraphModule, note: Callable[[fx.Node, Any], None]) -> None:
        super().__init__(graph_module)
        self._note = note

    def run_node(self, n: fx.Node) -> Any:
        """Return the value of the node; see `fx.Interpreter`."""
        value = super().run_node(n)
        self._note(n, value)
        return value


def _ends(graph_module: fx.GraphModule, output: fx.Node) -> tuple[dict[fx.Node, list[str]], tuple[LeftAlone, ...]]:
    """Return the layers of each place by its node, and the layers that cannot be read."""
    used = ancestors(output)
    ends: dict[fx.Node, list[str]] = {}
    left: list[LeftAlone] = []
    calls: dict[str, int] = {}
    for node in graph_module.graph.nodes:
        if node not in used or not _has_weights(node, graph_module):
            continue
        layer = str(node.target)
        calls[layer] = calls.get(layer, 0) + 1
        if _has_rows(node):
            ends.setdefault(_end(node, graph_module, used), []).append(_call(layer, calls[layer]))
        else:
            left.append(LeftAlone(module=layer, reason=UNREADABLE))
    return ends, tuple(left)


def _end(layer: fx.Node, graph_module: fx.GraphModule, used: Collection[fx.Node]) -> fx.Node:
    """Return the last value of as many dimensions as the layer's that it alone leads to."""
    here = end = layer
    while True:
        users = [user for user in here.users if user in used and is_tensor(user)]
        if len(users) != 1 or _has_weights(users[0], graph_module):
            return end
        here = users[0]
        if _has_rows(here) and len(_shape(here)) == len(_shape(layer)):
            end = here


def _call(name: str, number: int) -> str:
    return name if number == 1 else f"{name}{_AGAIN}{number})"


def _shape(node: fx.Node) -> tuple[int, ...]:
    return tuple(node.meta["tensor_meta"].shape)


def _has_weights(node: fx.Node, graph_module: fx.GraphModule) -> bool:
    return node.op == "call_module" and _holds_matrix(graph_module.get_submodule(str(node.target)))


def _holds_matrix(module: nn.Module) -> bool:
    return any(each.ndim > 1 for each in module.parameters())


def _is_layer(module: nn.Module) -> bool:
    """Return whether the module has weights of its own and nothing inside it but what makes them."""
    return _holds_matrix(module) and all(name == "parametrizations" for name, _ in module.named_children())


def _has_rows(node: fx.Node) -> bool:
    return is_tensor(node) and _fits(_shape(node))


def _is_readable(value: object) -> bool:
    return isinstance(value, Tensor) and value.is_floating_point() and _fits(tuple(value.shape))


def _fits(shape: tuple[int, ...]) -> bool:
    return len(shape) > 1 and shape[0] == TRIAL


def _trial_inputs(module: nn.Module, input_shape: tuple[int, ...]) -> Tensor:
    parameter = next(module.parameters(), torch.empty(()))
    return torch.zeros(TRIAL, *input_shape, device=parameter.device, dtype=parameter.dtype)
