"""Look-ups in an ONNX graph: who makes a value, who reads it, which values are constants."""

import numpy as np
import onnx
from onnx import numpy_helper


class GraphIndex:
    """A snapshot of a graph; make a new one after changing it."""

    def __init__(self, graph: onnx.GraphProto) -> None:
        self.constants = {item.name: item for item in graph.initializer}
        self.producers = {name: node for node in graph.node for name in node.output}
        self.consumers: dict[str, list[onnx.NodeProto]] = {}
        for node in graph.node:
            for name in node.input:
                self.consumers.setdefault(name, []).append(node)
        self.outputs = {item.name for item in graph.output}

    def array(self, name: str) -> np.ndarray:
        """Return the constant as an array; KeyError where the name is not a constant."""
        return numpy_helper.to_array(self.constants[name])

    def dequantizer(self, name: str) -> onnx.NodeProto | None:
        """Return the DequantizeLinear that makes the value, or None."""
        node = self.producers.get(name)
        return node if node is not None and node.op_type == "DequantizeLinear" else None

    def only_reader(self, name: str) -> onnx.NodeProto | None:
        """Return the one node that reads the value, or None where there are several or it leaves the graph."""
        readers = self.consumers.get(name, [])
        return readers[0] if len(readers) == 1 and name not in self.outputs else None


def attribute(node: onnx.NodeProto, name: str, default: int) -> int:
    """Return an integer attribute, or the default where it is absent."""
    return next((int(item.i) for item in node.attribute if item.name == name), default)


def ranks(graph: onnx.GraphProto) -> dict[str, int]:
    """Return the number of dimensions of every value that shape inference knows."""
    opset = [onnx.helper.make_opsetid("", 21)]
    inferred = onnx.shape_inference.infer_shapes(onnx.helper.make_model(graph, opset_imports=opset)).graph
    values = (*inferred.value_info, *inferred.input, *inferred.output)
    return {v.name: len(v.type.tensor_type.shape.dim) for v in values if v.type.tensor_type.HasField("shape")}
