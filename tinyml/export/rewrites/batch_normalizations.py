"""Put the BatchNormalization behind a convolution whose weight keeps its stored values into a factor and a bias.

    gamma (W x - mean) / sqrt(variance + epsilon) + beta = (f W) x + (beta - f mean)
                                                       f = gamma / sqrt(variance + epsilon)

The factor, one for each output channel, is multiplied when a session loads the file. That is two numbers a channel in
place of four, and the graph is that of a network whose BatchNormalization was folded.
"""

import numpy as np
import onnx
from onnx import helper, numpy_helper

from tinyml.export.rewrites.barriers import is_barrier
from tinyml.export.rewrites.index import GraphIndex


def scale_stored_weights(graph: onnx.GraphProto) -> None:
    """Replace every BatchNormalization that alone reads a Conv behind a barrier, in place; others stay."""
    for node in [node for node in graph.node if node.op_type == "BatchNormalization"]:
        index = GraphIndex(graph)
        conv = index.producers.get(node.input[0])
        if conv is None or conv.op_type != "Conv" or index.only_reader(conv.output[0]) is None:
            continue
        stored = _stored_weight(index, conv.input[1])
        if stored is None or not index.constants.keys() >= {*node.input[1:5], *conv.input[2:]}:
            continue
        gamma, beta, mean, variance = (index.array(name).astype(np.float64) for name in node.input[1:5])
        factor = gamma / np.sqrt(variance + _epsilon(node))
        before = index.array(conv.input[2]).astype(np.float64) if len(conv.input) > 2 else 0.0
        _insert(graph, conv, node, stored, factor, beta + factor * (before - mean))


def _stored_weight(index: GraphIndex, name: str) -> onnx.TensorProto | None:
    """Return the constant before the barrier, where a weight is what it lets through, or that times a constant."""
    maker = index.producers.get(name)
    if maker is not None and maker.op_type == "Mul" and maker.input[1] in index.constants:
        maker = index.producers.get(maker.input[0])
    return index.constants.get(maker.input[0]) if maker is not None and is_barrier(maker) else None


def _epsilon(node: onnx.NodeProto) -> float:
    return next((float(item.f) for item in node.attribute if item.name == "epsilon"), 1e-5)


def _insert(
    graph: onnx.GraphProto,
    conv: onnx.NodeProto,
    norm: onnx.NodeProto,
    stored: onnx.TensorProto,
    factor: np.ndarray,
    bias: np.ndarray,
) -> None:
    """Write both vectors, called after the weight, and let the convolution make what the normalization made."""
    weight, kind = stored.name, helper.tensor_dtype_to_np_dtype(stored.data_type)
    index = GraphIndex(graph)
    names = [
        _free_name(index, name)
        for name in (f"{weight}_factor", f"{weight.removesuffix('.weight')}.bias", f"{weight}_scaled")
    ]
    vectors = (factor.reshape(-1, *[1] * (len(stored.dims) - 1)), bias)
    graph.initializer.extend(
        numpy_helper.from_array(vector.astype(kind), name) for vector, name in zip(vectors, names, strict=False)
    )
    graph.node.insert(list(graph.node).index(conv), helper.make_node("Mul", [conv.input[1], names[0]], [names[2]]))
    del conv.input[1:]
    conv.input.extend([names[2], names[1]])
    conv.output[0] = norm.output[0]
    graph.node.remove(norm)


def _free_name(index: GraphIndex, name: str) -> str:
    """Return the name, numbered where a tensor has it: a layer that is called twice may be normalized twice."""
    taken = index.constants.keys() | index.producers.keys()
    return next(free for free in (name, *(f"{name}_{k}" for k in range(2, 1000))) if free not in taken)
