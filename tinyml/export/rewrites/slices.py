"""Join two slices of one value along different axes into one Slice, so that quantizers enclose a single operator."""

import numpy as np
import onnx
from onnx import numpy_helper

from tinyml.export.rewrites.index import GraphIndex


def join_slices(graph: onnx.GraphProto) -> None:
    """Rewrite Slice -> Slice with constant bounds on disjoint axes into one Slice, in place."""
    for node in [node for node in graph.node if node.op_type == "Slice"]:
        index = GraphIndex(graph)
        first = index.producers.get(node.input[0])
        if first is None or first.op_type != "Slice" or index.only_reader(first.output[0]) is None:
            continue
        outer, inner = _bounds(node, index), _bounds(first, index)
        if outer is None or inner is None or {int(a) for a in inner[2]} & {int(a) for a in outer[2]}:
            continue
        if min(inner[2]) < 0 or min(outer[2]) < 0:
            continue
        for position, arrays in enumerate(zip(inner, outer, strict=True), start=1):
            name = f"{node.name}_{('starts', 'ends', 'axes', 'steps')[position - 1]}"
            graph.initializer.append(numpy_helper.from_array(np.concatenate(arrays), name))
            node.input[position] = name
        node.input[0] = first.input[0]
        graph.node.remove(first)


def _bounds(node: onnx.NodeProto, index: GraphIndex) -> tuple[np.ndarray, ...] | None:
    """Return (starts, ends, axes, steps) as int64 arrays, or None where one is missing or computed."""
    names = list(node.input[1:5])
    if len(names) != 4 or any(name not in index.constants for name in names):
        return None
    return tuple(index.array(name).astype(np.int64).reshape(-1) for name in names)
