"""Remove a ReLU or Clip whose work the clamp of the QuantizeLinear behind it does already.

A quantizer represents scale * (q - zero_point) for q_min <= q <= q_max. When its lowest value is 0 or more, ReLU
changes nothing; when its highest is also no more than the upper limit of a Clip, within half a step, Clip changes no
code either.
"""

import numpy as np
import onnx

from tinyml.export.rewrites.index import GraphIndex


def remove_redundant_rectifiers(graph: onnx.GraphProto) -> None:
    """Connect the rectifier's input to its quantizer, in place."""
    index = GraphIndex(graph)
    for node in [node for node in graph.node if node.op_type in ("Relu", "Clip")]:
        reader = index.only_reader(node.output[0])
        if reader is not None and reader.op_type == "QuantizeLinear" and _redundant(node, reader, index):
            reader.input[0] = node.input[0]
            graph.node.remove(node)


def _redundant(node: onnx.NodeProto, quantizer: onnx.NodeProto, index: GraphIndex) -> bool:
    scale = float(index.array(quantizer.input[1]))
    zero_point = index.array(quantizer.input[2])
    first, last = _codes(quantizer, index)
    lowest, highest = scale * (first - int(zero_point)), scale * (last - int(zero_point))
    if node.op_type == "Relu":
        return lowest >= 0.0
    low, high = (_limit(node, position, index) for position in (1, 2))
    above = high is None or highest < high + scale / 2
    return above and (low is None or lowest > low - scale / 2)


def _codes(quantizer: onnx.NodeProto, index: GraphIndex) -> tuple[int, int]:
    """Return the lowest and the highest code: of the type, or of the Clip of codes that alone reads them."""
    limits = np.iinfo(index.array(quantizer.input[2]).dtype)
    clip = index.only_reader(quantizer.output[0])
    if clip is None or clip.op_type != "Clip":
        return int(limits.min), int(limits.max)
    return int(index.array(clip.input[1])), int(index.array(clip.input[2]))


def _limit(node: onnx.NodeProto, position: int, index: GraphIndex) -> float | None:
    """Return a Clip's limit, None where it has none; a limit that is computed counts as one that always cuts."""
    if len(node.input) <= position or not node.input[position]:
        return None
    name = node.input[position]
    if name not in index.constants:
        return float("inf") if position == 1 else float("-inf")
    return float(index.array(name))
