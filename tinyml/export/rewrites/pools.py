"""Write the mean over both spatial axes as GlobalAveragePool, for which runtimes have integer and blocked kernels."""

import onnx

from tinyml.export.rewrites.index import GraphIndex, attribute, ranks


def name_global_pools(graph: onnx.GraphProto) -> None:
    """Replace ReduceMean over axes 2 and 3 of a four-dimensional value, dimensions kept, in place."""
    index, known = GraphIndex(graph), ranks(graph)
    for node in graph.node:
        if node.op_type != "ReduceMean" or len(node.input) < 2 or node.input[1] not in index.constants:
            continue
        axes = {int(axis) % 4 for axis in index.array(node.input[1])}
        if axes == {2, 3} and known.get(node.input[0]) == 4 and attribute(node, "keepdims", 1):
            node.op_type = "GlobalAveragePool"
            del node.input[1:]
            del node.attribute[:]
