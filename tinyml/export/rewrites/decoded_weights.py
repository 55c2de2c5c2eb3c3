"""Decode a quantized weight when the file is loaded, where the layer's data is float.

    DequantizeLinear(codes, scale, zero_point)  ->  Mul(Sub(Cast(codes), zero_point), scale)

onnxruntime never folds a DequantizeLinear: in front of a float Conv it would run at every call, and with a float MatMul
it becomes MatMulNBits, which rounds the layer's input to 8 bits unasked. The nodes on the right have constant inputs
only: they are folded at load, and the layer costs and gives what a float layer does. INT4 codes stay as they are: the
target asked for them. Behind a dequantized input DequantizeLinear stays: it becomes part of an integer kernel; where
there is none (16 bits), onnxruntime would round a float weight between quantizers to 8 bits of its own choice.
"""

import numpy as np
import onnx
from onnx import helper, numpy_helper

from tinyml.export.rewrites.index import GraphIndex, attribute

_WEIGHTED = ("Conv", "Gemm", "MatMul")
_MOVES = ("Reshape", "Transpose")


def decode_float_weights(graph: onnx.GraphProto) -> None:
    """Rewrite in place."""
    index = GraphIndex(graph)
    for node in [node for node in graph.node if node.op_type == "DequantizeLinear"]:
        codes = index.constants.get(node.input[0])
        if codes is not None and codes.data_type != onnx.TensorProto.INT4 and _is_float_weight(node.output[0], index):
            position = list(graph.node).index(node)
            graph.node.remove(node)
            for offset, decoding in enumerate(_decoder(graph, node, index)):
                graph.node.insert(position + offset, decoding)


def _is_float_weight(name: str, index: GraphIndex) -> bool:
    """Return whether only float layers read the value, as their weight."""
    readers = index.consumers.get(name, [])
    return bool(readers) and all(
        _is_float_weight(reader.output[0], index)
        if reader.op_type in _MOVES
        else reader.op_type in _WEIGHTED and reader.input[1] == name and index.dequantizer(reader.input[0]) is None
        for reader in readers
    )


def _decoder(graph: onnx.GraphProto, node: onnx.NodeProto, index: GraphIndex) -> list[onnx.NodeProto]:
    """Return the nodes that compute what DequantizeLinear did, and add their constants."""
    codes = index.array(node.input[0])
    shape = [1] * codes.ndim
    scale = index.array(node.input[1])
    if scale.ndim:
        shape[attribute(node, "axis", 1)] = -1
    base, result = node.input[0], node.output[0]  # two layers may share their codes: the result's name is its own
    value = f"{result}_codes"
    nodes = [helper.make_node("Cast", [base], [value], name=f"{result}_cast", to=onnx.TensorProto.FLOAT)]
    if len(node.input) > 2 and index.array(node.input[2]).any():
        zeros = index.array(node.input[2]).astype(np.float32).reshape(shape if scale.ndim else ())
        graph.initializer.append(numpy_helper.from_array(zeros, f"{result}_zeros"))
        nodes.append(helper.make_node("Sub", [value, f"{result}_zeros"], [f"{value}_shifted"], name=f"{result}_shift"))
        value = f"{value}_shifted"
    factor = f"{result}_factor"
    graph.initializer.append(numpy_helper.from_array(scale.reshape(shape if scale.ndim else ()), factor))
    nodes.append(helper.make_node("Mul", [value, factor], [result], name=f"{result}_scaled"))
    return nodes
