"""What each node of a captured graph does to a quantized value.

weighted    a Conv or Linear module: integer arithmetic with an integer weight
arithmetic  adds, multiplications, concatenations, average pools: onnxruntime has integer kernels for them
rectifier   ReLU and ReLU6: vanish into the clamp of the quantizer behind them
carry       only moves or selects values: its output lives on its input's grid
alias       gives its input unchanged
floating    everything else runs in float
"""

import operator
from collections.abc import Callable
from enum import StrEnum

import torch
import torch.nn.functional as F
from torch import fx, nn
from torch.fx.passes.shape_prop import TensorMetadata

WEIGHTED = (nn.Conv1d, nn.Conv2d, nn.Linear)
WITHOUT_INTEGER_KERNEL = (
    nn.Conv3d, nn.ConvTranspose1d, nn.ConvTranspose2d, nn.ConvTranspose3d,
    nn.Bilinear, nn.Embedding, nn.RNNBase, nn.RNNCellBase, nn.MultiheadAttention,
)  # fmt: skip


class Operation(StrEnum):
    """The role of a node in integer arithmetic."""

    WEIGHTED = "weighted"
    ADD = "add"
    COMBINE = "combine"  # multiplication and concatenation
    POOL = "pool"
    RECTIFIER = "rectifier"
    CARRY = "carry"
    ALIAS = "alias"
    FLOATING = "floating"


_MODULES: dict[type[nn.Module], Operation] = {
    **dict.fromkeys(WEIGHTED, Operation.WEIGHTED),
    nn.AvgPool2d: Operation.POOL,
    nn.AdaptiveAvgPool2d: Operation.POOL,
    nn.ReLU: Operation.RECTIFIER,
    nn.ReLU6: Operation.RECTIFIER,
    nn.MaxPool1d: Operation.CARRY,
    nn.MaxPool2d: Operation.CARRY,
    nn.Flatten: Operation.CARRY,
    nn.Identity: Operation.ALIAS,
    nn.Dropout: Operation.ALIAS,
    nn.Dropout2d: Operation.ALIAS,
    nn.PixelShuffle: Operation.CARRY,
}
_FUNCTIONS: dict[Callable[..., object], Operation] = {
    **dict.fromkeys((operator.add, operator.iadd, torch.add), Operation.ADD),
    **dict.fromkeys((operator.mul, operator.imul, torch.mul, torch.cat, torch.concat), Operation.COMBINE),
    **dict.fromkeys((F.avg_pool2d, F.adaptive_avg_pool2d), Operation.POOL),
    **dict.fromkeys((F.relu, F.relu6, torch.relu, torch.relu_), Operation.RECTIFIER),
    **dict.fromkeys(
        (F.max_pool1d, F.max_pool2d, F.pixel_shuffle, operator.getitem, torch.flatten),
        Operation.CARRY,
    ),
    **dict.fromkeys((F.dropout, F.dropout2d), Operation.ALIAS),
    **dict.fromkeys(
        (torch.reshape, torch.permute, torch.transpose, torch.squeeze, torch.unsqueeze, torch.chunk, torch.split),
        Operation.CARRY,
    ),
}
_METHODS: dict[str, Operation] = {
    **dict.fromkeys(("add", "add_"), Operation.ADD),
    **dict.fromkeys(("mul", "mul_"), Operation.COMBINE),
    **dict.fromkeys(("relu", "relu_"), Operation.RECTIFIER),
    **dict.fromkeys(("view", "reshape", "flatten", "permute", "transpose"), Operation.CARRY),
    **dict.fromkeys(("squeeze", "unsqueeze", "chunk", "split"), Operation.CARRY),
    **dict.fromkeys(("contiguous", "detach", "clone"), Operation.ALIAS),
}


def operation(node: fx.Node, modules: dict[str, nn.Module]) -> Operation:
    """Return the role of the node; what is not listed is floating."""
    if node.op == "call_module":
        module = modules[str(node.target)]
        found = next((role for kind, role in _MODULES.items() if isinstance(module, kind)), Operation.FLOATING)
    elif node.op == "call_function" and node.target is F.pad:
        found = Operation.CARRY if _pads_with_zeros(node) else Operation.FLOATING
    elif node.op == "call_function":
        found = _FUNCTIONS.get(node.target, Operation.FLOATING)  # type: ignore[arg-type]  # a call_function's target is callable
    elif node.op == "call_method":
        found = _METHODS.get(str(node.target), Operation.FLOATING)
    else:
        found = Operation.FLOATING
    two_tensors = {Operation.ADD, Operation.COMBINE}
    return Operation.FLOATING if found in two_tensors and len(tensor_inputs(node)) < 2 else found


def _pads_with_zeros(node: fx.Node) -> bool:
    mode = node.args[2] if len(node.args) > 2 else node.kwargs.get("mode", "constant")
    value = node.args[3] if len(node.args) > 3 else node.kwargs.get("value", 0)
    return mode == "constant" and value in (None, 0, 0.0)


def is_tensor(node: fx.Node) -> bool:
    """Return whether shape propagation found one floating-point tensor at this node."""
    meta = node.meta.get("tensor_meta")
    return isinstance(meta, TensorMetadata) and meta.dtype.is_floating_point


def tensor_inputs(node: fx.Node) -> list[fx.Node]:
    """Return the distinct nodes that feed tensors, or tuples of tensors, into the node."""
    return [source for source in node.all_input_nodes if "tensor_meta" in source.meta]
