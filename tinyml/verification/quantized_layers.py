"""The layers of a file that compute in integers: a Conv, Gemm or MatMul between DequantizeLinear nodes."""

from dataclasses import dataclass
from typing import final

import torch
from onnx import GraphProto, NodeProto
from torch import Tensor

from tinyml.export.rewrites.index import GraphIndex, attribute
from tinyml.graph.onnx_constants import Constants

LAYERS = ("Conv", "Gemm", "MatMul")


@final
@dataclass(frozen=True, kw_only=True)
class QuantizedLayer:
    """A layer whose input and constant weight are dequantized from integers.

    Attributes:
        node: the layer.
        data: the DequantizeLinear of its input.
        weight: the DequantizeLinear of its weight.
        codes: the weight's codes, int8 or uint8, the output channels first: (C_out, C_in / groups, ...).
    """

    node: NodeProto
    data: NodeProto
    weight: NodeProto
    codes: Tensor

    @property
    def name(self) -> str:
        """The layer's name, or that of its output where it has none."""
        return self.node.name or str(self.node.output[0])


def quantized_layers(graph: GraphProto, index: GraphIndex, constants: Constants) -> list[QuantizedLayer]:
    """Return the integer layers of a graph, in its order; their weights are int8 or uint8."""
    found = []
    for node in graph.node:
        if node.op_type not in LAYERS:
            continue
        data, weight = index.dequantizer(node.input[0]), index.dequantizer(node.input[1])
        if data is None or weight is None or weight.input[0] not in constants:
            continue
        codes = constants.value(weight.input[0])
        if codes.dtype.name in ("int8", "uint8"):
            first = torch.from_numpy(codes.copy()).movedim(channel_axis(node), 0)
            found.append(QuantizedLayer(node=node, data=data, weight=weight, codes=first))
    return found


def channel_axis(node: NodeProto) -> int:
    """Return the axis of the output channels in the weight of a Conv, Gemm or MatMul."""
    return 0 if node.op_type == "Conv" or (node.op_type == "Gemm" and attribute(node, "transB", 0)) else -1
