"""Heads that classify a value in the middle of a network: pool, flatten, and a linear layer.

pooled    average pooling to 4 x 4 (what is smaller stays as it is), then a linear layer
flatten   a linear layer on everything
conv      average pooling to 8 x 8, a 3x3 convolution with stride 2, BatchNorm, ReLU, then a linear layer

A value with a dimension of size H is pooled to P places with stride s = H // P and kernel H - (P - 1) s: plain pooling,
of which every element is read, and for H = P s the same as adaptive pooling. Signals (C, L) and tokens (T, D) have one
dimension to pool, features (D,) none. Heads are ordinary modules in the captured graph, below `exit_heads`: they are
trained, folded and quantized with the network.
"""

import math
from collections import OrderedDict
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final, Literal, final, get_args

import torch
from torch import Tensor, fx, nn

Head = Literal["pooled", "flatten", "conv"]
HEADS: Final[tuple[Head, ...]] = get_args(Head)

EXIT_HEADS: Final = "exit_heads"
"""Name of the module that holds the heads."""

PLACES: Final = 4
"""Of a dimension in front of the linear layer, which pooling leaves; a conv head's convolution reads twice as many."""


@dataclass(frozen=True, kw_only=True)
class ExitSpec:
    """One exit.

    Attributes:
        node: the graph's node whose value the head reads.
        name: of the place, to show: "layer1".
        head: its kind.
        shape: of one example's value: (C, H, W), (C, L), (T, D), (H, W, C) or (D,).
        channels_last: whether the channels are the last dimension.
        hidden: channels of the convolution of a conv head; 0 for the others.
        classes: logits.
    """

    node: str
    name: str
    head: Head
    shape: tuple[int, ...]
    channels_last: bool
    hidden: int
    classes: int


@final
class ChannelsFirst(nn.Module):
    """Moves the channels behind the batch: tokens (N, T, D) become (N, D, T)."""

    def forward(self, x: Tensor) -> Tensor:
        """Return (N, C, ...) of (N, ..., C)."""
        return x.movedim(-1, 1)


def make_head(spec: ExitSpec) -> nn.Sequential:
    """Return the head, in eval mode, with weights as torch draws them."""
    layers: OrderedDict[str, nn.Module] = OrderedDict()
    shape = spec.shape
    if spec.channels_last and len(shape) > 1:
        layers["channels_first"] = ChannelsFirst()
        shape = (shape[-1], *shape[:-1])
    channels, sizes = shape[0], list(shape[1:])
    places = 2 * PLACES if spec.head == "conv" else PLACES
    if spec.head != "flatten" and any(size > places for size in sizes):
        layers["pool"] = _pool(sizes, places)
        sizes = [min(size, places) for size in sizes]
    if spec.head == "conv":
        convolution, norm = ((nn.Conv1d, nn.BatchNorm1d), (nn.Conv2d, nn.BatchNorm2d))[len(sizes) - 1]
        layers["conv"] = convolution(channels, spec.hidden, 3, stride=2, padding=1, bias=False)
        layers["norm"], layers["relu"] = norm(spec.hidden), nn.ReLU()
        channels, sizes = spec.hidden, [halved(size) for size in sizes]
    if sizes:
        layers["flatten"] = nn.Flatten()
    layers["linear"] = nn.Linear(channels * math.prod(sizes), spec.classes)
    return nn.Sequential(layers).eval()


def head_fault(head: Head, shape: tuple[int, ...]) -> str:
    """Return why a kind of head does not fit values of this shape, "" where it does."""
    if head == "conv" and len(shape) == 1:
        return f"features {shape} have no places for a conv head to convolve; use 'pooled'"
    return ""


def halved(size: int) -> int:
    """Return the size of a dimension behind a convolution of kernel 3, stride 2 and padding 1."""
    return (size + 1) // 2


def conv_macs(shape: tuple[int, ...]) -> int:
    """Return the MACs of one output channel of a conv head's convolution, on a value (C, H, W) or (C, L)."""
    channels, *sizes = shape
    return channels * math.prod(3 * halved(min(size, 2 * PLACES)) for size in sizes)


def attach_exits(graph_module: fx.GraphModule, specs: tuple[ExitSpec, ...]) -> None:
    """Give a captured network exits, in place: its output becomes the tuple of their logits and its own, in order.

    Raises:
        KeyError: A node is not there.
        TypeError: The network has a module named `exit_heads`, or its output is no single value.
    """
    if hasattr(graph_module, EXIT_HEADS):
        raise TypeError(f"the network has '{EXIT_HEADS}' already")
    graph = graph_module.graph
    nodes = {node.name: node for node in graph.nodes}
    (output,) = graph.output_node().args
    if not isinstance(output, fx.Node):
        raise TypeError("the network's output is no single value")
    parameter = next(graph_module.parameters(), torch.empty(()))
    heads = nn.ModuleDict({f"exit_{i}": make_head(spec) for i, spec in enumerate(specs)}).to(parameter.device)
    graph_module.add_module(EXIT_HEADS, heads)
    logits = [
        _call_in_order(graph, nodes[spec.node], f"{EXIT_HEADS}.{key}", head)
        for spec, (key, head) in zip(specs, heads.items(), strict=True)
    ]
    graph.output_node().args = ((*logits, output),)
    graph.lint()
    graph_module.recompile()


def has_exits(module: nn.Module) -> bool:
    """Return whether exits are attached to a network."""
    return isinstance(getattr(module, EXIT_HEADS, None), nn.Module)


def head_parameters(module: nn.Module) -> Iterator[nn.Parameter]:
    """Yield the parameters of the heads of a network's exits; none where it has none."""
    if has_exits(module):
        yield from module.get_submodule(EXIT_HEADS).parameters()


def _call_in_order(graph: fx.Graph, node: fx.Node, prefix: str, head: nn.Module) -> fx.Node:
    """Insert calls of a head's layers one after the other behind a node, and return the last."""
    for name, _ in head.named_children():
        with graph.inserting_after(node):
            node = graph.call_module(f"{prefix}.{name}", (node,))
    return node


def _pool(sizes: list[int], places: int) -> nn.Module:
    strides = [max(1, size // places) for size in sizes]
    pairs = list(zip(sizes, strides, strict=True))
    kernels = [size - (places - 1) * stride if size >= places else 1 for size, stride in pairs]
    if len(sizes) == 1:
        return nn.AvgPool1d(kernels[0], stride=strides[0])
    return nn.AvgPool2d((kernels[0], kernels[1]), stride=(strides[0], strides[1]))
