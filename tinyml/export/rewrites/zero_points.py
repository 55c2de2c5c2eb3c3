"""Spell out the zero point of a Gemm's weight: onnxruntime takes a Gemm for an integer one only where it is written.

It has no integer kernel for INT4 weights: those need none.
"""

import numpy as np
import onnx
from onnx import numpy_helper

from tinyml.export.rewrites.index import GraphIndex


def write_zero_points(graph: onnx.GraphProto) -> None:
    """Add a constant of zeros, the type of the codes, to the weight's DequantizeLinear, in place."""
    index = GraphIndex(graph)
    for node in graph.node:
        weight = index.dequantizer(node.input[1]) if node.op_type == "Gemm" else None
        if weight is None or len(weight.input) > 2 or weight.input[0] not in index.constants:
            continue
        if index.constants[weight.input[0]].data_type == onnx.TensorProto.INT4:
            continue
        zeros = np.zeros_like(index.array(weight.input[1]), dtype=index.array(weight.input[0]).dtype)
        name = weight.input[0].removesuffix("_quantized") + "_zero_point"
        graph.initializer.append(numpy_helper.from_array(zeros, name))
        weight.input.append(name)
