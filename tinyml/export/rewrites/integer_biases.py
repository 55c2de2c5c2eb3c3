"""Store the bias of an integer layer as int32 on the accumulator's grid.

    scale_bias = scale_input * scale_weight, zero point 0

Source: Jacob et al. 2018, section 2.4. The runtime then adds it before requantization. A bias that does not fit 32
bits stays in float; the quantization pass widens the weight's scale beforehand so that this does not happen.
"""

import logging

import numpy as np
import onnx
from onnx import helper, numpy_helper

from tinyml.export.rewrites.index import GraphIndex

_INT32 = np.iinfo(np.int32)
_logger = logging.getLogger(__name__)


def quantize_biases(graph: onnx.GraphProto) -> None:
    """Replace the float bias of every Conv and Gemm whose input and weight are dequantized, in place."""
    for node in [node for node in graph.node if node.op_type in ("Conv", "Gemm")]:
        index = GraphIndex(graph)
        if len(node.input) < 3 or node.input[2] not in index.constants:
            continue
        data, weight = index.dequantizer(node.input[0]), index.dequantizer(node.input[1])
        if data is None or weight is None or weight.input[0] not in index.constants:
            continue
        bias = index.array(node.input[2]).astype(np.float64)
        scale = (index.array(data.input[1]) * index.array(weight.input[1])).astype(np.float32)
        codes = np.rint(bias / scale.astype(np.float64))
        if not ((codes >= _INT32.min) & (codes <= _INT32.max)).all():
            _logger.warning("the bias %s does not fit 32 bits and stays in float", node.input[2])
            continue
        _insert(graph, node, codes.astype(np.int32), scale)


def _insert(graph: onnx.GraphProto, node: onnx.NodeProto, codes: np.ndarray, scale: np.ndarray) -> None:
    """Add the constants and the DequantizeLinear; a layer that is called twice gets one bias per call."""
    base, taken = node.input[2], {item.name for item in graph.initializer}
    suffix = next(s for s in ("", *(f"_{k}" for k in range(2, 1000))) if f"{base}_quantized{s}" not in taken)
    names = [f"{base}_{kind}{suffix}" for kind in ("quantized", "scale", "dequantized")]
    scale = np.broadcast_to(scale, codes.shape).copy()
    graph.initializer.extend([numpy_helper.from_array(codes, names[0]), numpy_helper.from_array(scale, names[1])])
    dequantize = helper.make_node("DequantizeLinear", names[:2], names[2:], name=f"{node.name}_bias", axis=0)
    node.input[2] = names[2]
    graph.node.insert(list(graph.node).index(node), dequantize)
