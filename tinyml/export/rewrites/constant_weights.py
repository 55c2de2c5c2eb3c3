"""Store a linear layer's weight codes transposed, so that no Transpose stands between DequantizeLinear and MatMul."""

import onnx
from onnx import numpy_helper

from tinyml.export.rewrites.index import GraphIndex, attribute


def transpose_constant_weights(graph: onnx.GraphProto) -> None:
    """Rewrite DequantizeLinear(constant) -> Transpose(1, 0) into DequantizeLinear(transposed constant), in place."""
    index = GraphIndex(graph)
    for node in [node for node in graph.node if node.op_type == "Transpose"]:
        source = index.dequantizer(node.input[0])
        if source is None or source.input[0] not in index.constants or not index.only_reader(source.output[0]):
            continue
        codes = index.constants[source.input[0]]
        if len(codes.dims) != 2 or len(index.consumers[codes.name]) != 1:
            continue
        codes.CopyFrom(numpy_helper.from_array(numpy_helper.to_array(codes).T.copy(), codes.name))
        axis = 1 - attribute(source, "axis", 1)
        del source.attribute[:]
        source.attribute.append(onnx.helper.make_attribute("axis", axis))
        source.output[0] = node.output[0]
        graph.node.remove(node)
