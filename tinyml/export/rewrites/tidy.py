"""Remove what the exporter leaves behind: stack traces, documentation, unused constants, descriptions of values."""

import onnx


def strip_metadata(graph: onnx.GraphProto) -> None:
    """Drop every metadata property and documentation string; they outweigh small models."""
    for item in (graph, *graph.node, *graph.input, *graph.output, *graph.initializer):
        del item.metadata_props[:]
        item.doc_string = ""
    del graph.value_info[:]
    for position, node in enumerate(graph.node):
        node.name = f"{node.op_type}_{position}"


def remove_unused(graph: onnx.GraphProto) -> None:
    """Drop nodes and constants that nothing reads."""
    while True:
        needed = {name for node in graph.node for name in node.input} | {item.name for item in graph.output}
        idle = [node for node in graph.node if not needed.intersection(node.output)]
        if not idle:
            break
        for node in idle:
            graph.node.remove(node)
    kept = [item for item in graph.initializer if item.name in needed]
    del graph.initializer[:]
    graph.initializer.extend(kept)
