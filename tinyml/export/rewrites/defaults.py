"""Leave out attributes that say what an operator does without them: in a small network they outweigh its scales."""

import onnx
from onnx.defs import get_schema, has


def drop_default_attributes(graph: onnx.GraphProto) -> None:
    """Remove the attributes of ONNX's own operators that have their default value, in place.

    Defaults are those of onnx's latest opset; since opset 18, the oldest that a target may have, none has changed but
    the word for the mode of GridSample, whose old word stays.
    """
    for node in graph.node:
        if node.domain in ("", "ai.onnx") and has(node.op_type):
            known = get_schema(node.op_type).attributes
            for attribute in list(node.attribute):
                if attribute.name in known and attribute == known[attribute.name].default_value:
                    node.attribute.remove(attribute)
