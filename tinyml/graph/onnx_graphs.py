"""The graphs of an ONNX model: the main one, and those inside its nodes, such as the branches of an If."""

from collections.abc import Iterator

from onnx import AttributeProto, GraphProto, NodeProto


def subgraphs(node: NodeProto) -> tuple[GraphProto, ...]:
    """Return the graphs that a node holds: the branches of an If, the body of a Loop."""
    held: list[GraphProto] = []
    for attribute in node.attribute:
        held += [attribute.g] if attribute.type == AttributeProto.GRAPH else attribute.graphs
    return tuple(held)


def graphs(graph: GraphProto) -> Iterator[GraphProto]:
    """Yield a graph and the graphs inside it, however deep."""
    yield graph
    for node in graph.node:
        for inner in subgraphs(node):
            yield from graphs(inner)
