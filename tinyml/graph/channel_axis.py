"""Whether the channels of a value are its last dimension, as of tokens (N, T, D), or the one behind the batch."""

from collections import deque

from torch import fx, nn

from tinyml.graph.layer_types import ChannelNorm, Convolution, LastNorm

POOLS = (
    nn.MaxPool1d, nn.MaxPool2d, nn.MaxPool3d, nn.AvgPool1d, nn.AvgPool2d, nn.AvgPool3d,
    nn.AdaptiveAvgPool1d, nn.AdaptiveAvgPool2d, nn.AdaptiveAvgPool3d,
)  # fmt: skip


def channels_last(node: fx.Node, graph_module: fx.GraphModule) -> bool:
    """Return what the nearest layers say that read the value or that it comes from, in the same shape.

    A linear layer and LayerNorm take the last dimension for channels; convolutions, pools and the other norms the one
    behind the batch. Where none says, values of three dimensions (N, T, D) are tokens and others are not. The shapes
    that `propagate_shapes` leaves are needed.
    """
    shape = _shape(node)
    if len(shape) < 3:
        return False
    for forward in (True, False):
        seen, waiting = {node}, deque([node])
        while waiting:
            here = waiting.popleft()
            near = list(here.users) if forward else [here]
            for layer in near:
                says = _says(layer, graph_module)
                if says is not None:
                    return says
            following = list(here.users) if forward else here.all_input_nodes
            new = [each for each in following if each not in seen and _shape(each) == shape]
            seen.update(new)
            waiting.extend(new)
    return len(shape) == 3


def _says(node: fx.Node, graph_module: fx.GraphModule) -> bool | None:
    if node.op != "call_module":
        return None
    layer = graph_module.get_submodule(str(node.target))
    if isinstance(layer, nn.Linear | LastNorm):
        return True
    return False if isinstance(layer, (Convolution | ChannelNorm, *POOLS)) else None


def _shape(node: fx.Node) -> tuple[int, ...]:
    """Return the shape with the batch, () where the node gives no single tensor."""
    return tuple(getattr(node.meta.get("tensor_meta"), "shape", ()))
