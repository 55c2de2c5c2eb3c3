"""Convolutions and linear layers by their shapes alone: seen in a network, and written as ONNX networks of one layer.

What the time of a layer depends on is its shapes: the values of its weights do not matter, so all of them are equal.
"""

import copy
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, Final, Literal, final

import numpy as np
import torch
from onnx import TensorProto, helper, numpy_helper
from torch import Tensor, nn

from tinyml.graph.layer_types import Convolution, TransposedConvolution

_OPSET: Final = 18
_IR_VERSION: Final = 8
_WEIGHT: Final = 0.01


@final
@dataclass(frozen=True, kw_only=True)
class LayerShape:
    """A layer as the runtime sees it.

    Attributes:
        operator: of ONNX; Gemm is a linear layer on vectors, MatMul one on longer inputs.
        input: shape of its input without the batch: (C_in, ...) of a convolution, (..., features) of a linear layer.
        weight: (C_out, C_in / groups, ...), transposed (C_in, C_out / groups, ...), linear (outputs, features).
        strides, pads, dilations, output_padding: of a convolution, pads as ONNX has them: all starts, then all ends.
        groups: of a convolution.
    """

    operator: Literal["Conv", "ConvTranspose", "Gemm", "MatMul"]
    input: tuple[int, ...]
    weight: tuple[int, ...]
    strides: tuple[int, ...] = ()
    pads: tuple[int, ...] = ()
    dilations: tuple[int, ...] = ()
    output_padding: tuple[int, ...] = ()
    groups: int = 1

    def __str__(self) -> str:
        """Return everything that tells it from others: "Conv (3, 32, 32) weight (64, 3, 3, 3) strides (1, 1) ..."."""
        facts = ("weight", "strides", "pads", "dilations", "output_padding", "groups")
        return f"{self.operator} {self.input} " + " ".join(f"{name} {getattr(self, name)}" for name in facts)

    def resized(self, weight: tuple[int, ...]) -> "LayerShape":
        """Return the layer with fewer channels: its weight has this shape, and its input what goes with it."""
        if not self.strides:
            return replace(self, weight=weight, input=(*self.input[:-1], weight[1]))
        depthwise = 1 < self.groups == self.input[0] == self.weight[0] and self.weight[1] == 1
        groups = weight[0] if depthwise else self.groups
        channels = weight[0] if self.operator == "ConvTranspose" else weight[1] * groups
        return replace(self, weight=weight, input=(channels, *self.input[1:]), groups=groups)


def observed_layers(module: nn.Module, input_shape: tuple[int, ...]) -> list[tuple[str, LayerShape]]:
    """Return the layers that work on one input, in the order of their calls, by name; one called twice stands twice."""
    own = copy.deepcopy(module).cpu().eval()
    seen: list[tuple[str, LayerShape]] = []

    def note(name: str, layer: Convolution | nn.Linear, inputs: tuple[Any, ...]) -> None:
        seen.append((name, _shape_of(layer, inputs[0])))

    for name, layer in own.named_modules():
        if isinstance(layer, Convolution | nn.Linear):
            layer.register_forward_pre_hook(partial(note, name))
    parameter = next(own.parameters(), torch.empty(()))
    with torch.no_grad():
        own(torch.zeros(1, *input_shape, dtype=parameter.dtype))
    return seen


def one_layer_network(shape: LayerShape) -> bytes:
    """Return an ONNX file with this layer alone: `input` (N, ...) float32 -> `output`."""
    bias = (shape.weight[1] * shape.groups,) if shape.operator == "ConvTranspose" else (shape.weight[0],)
    weight = shape.weight[::-1] if shape.operator == "MatMul" else shape.weight
    constants = {"weight": weight} if shape.operator == "MatMul" else {"weight": weight, "bias": bias}
    node = helper.make_node(shape.operator, ["input", *constants], ["output"], **_attributes(shape))
    graph = helper.make_graph(
        [node],
        "one_layer",
        [helper.make_tensor_value_info("input", TensorProto.FLOAT, ["batch", *shape.input])],
        [helper.make_empty_tensor_value_info("output")],
        [numpy_helper.from_array(np.full(size, _WEIGHT, np.float32), name) for name, size in constants.items()],
    )
    graph.output[0].type.tensor_type.elem_type = TensorProto.FLOAT
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", _OPSET)], ir_version=_IR_VERSION)
    content: bytes = model.SerializeToString()
    return content


def _attributes(shape: LayerShape) -> dict[str, Any]:
    if shape.operator == "MatMul":
        return {}
    if shape.operator == "Gemm":
        return {"transB": 1}
    names = ("strides", "pads", "dilations") + (("output_padding",) if shape.output_padding else ())
    return {**{name: getattr(shape, name) for name in names}, "group": shape.groups}


def _shape_of(layer: Convolution | nn.Linear, x: Tensor) -> LayerShape:
    """Return the shape of a layer that is called on x (N, ...), a convolution perhaps on one without a batch."""
    weight = tuple(layer.weight.shape)
    if isinstance(layer, nn.Linear):
        return LayerShape(operator="Gemm" if x.ndim <= 2 else "MatMul", input=tuple(x.shape[1:]), weight=weight)
    return LayerShape(
        operator="ConvTranspose" if isinstance(layer, TransposedConvolution) else "Conv",
        input=tuple(x.shape[1 - len(weight) :]),
        weight=weight,
        strides=layer.stride,
        pads=_pads(layer),
        dilations=layer.dilation,
        output_padding=layer.output_padding if isinstance(layer, TransposedConvolution) else (),
        groups=layer.groups,
    )


def _pads(layer: Convolution) -> tuple[int, ...]:
    """Return the pads of a convolution, "same" and "valid" worked out."""
    if layer.padding == "valid":
        return (0,) * (2 * len(layer.stride))
    if layer.padding == "same":
        total = [d * (k - 1) for d, k in zip(layer.dilation, layer.kernel_size, strict=True)]
        return (*(size // 2 for size in total), *(size - size // 2 for size in total))
    return (*layer.padding, *layer.padding)
