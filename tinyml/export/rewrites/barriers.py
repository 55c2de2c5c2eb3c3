"""Remove the barriers that kept torch's exporter from folding anything into a weight."""

import onnx

from tinyml.export.translations import BARRIER, BARRIER_DOMAIN


def is_barrier(node: onnx.NodeProto) -> bool:
    """Return whether the node stands for `tinyml.layers.operators.as_stored`."""
    return (node.domain, node.op_type) == (BARRIER_DOMAIN, BARRIER)


def remove_barriers(graph: onnx.GraphProto) -> None:
    """Let the readers of every barrier read the weight before it, in place."""
    barriers = [node for node in graph.node if is_barrier(node)]
    behind = {node.output[0]: node.input[0] for node in barriers}
    for node in barriers:
        graph.node.remove(node)
    for node in graph.node:
        for position, name in enumerate(node.input):
            node.input[position] = behind.get(name, name)
