"""Let a stage behind a border compute its residual blocks in onnxruntime's blocked layout, as the whole network does.

    (N, C, H, W) -> MaxPool 1x1 -> x -> Conv -> ... -> Add
                                   x ------------------^

On x86 and ARM onnxruntime turns float convolutions to a layout of channels in blocks (NCHWc), and fuses the addition
and the ReLU behind a convolution with it, where both operands have that layout. A shortcut that comes from outside the
graph has not, and none of the blocks behind it gets it back: a stage of many blocks lost a quarter of its speed. A
pooling of one place changes no value and gives it the layout, for the price of one copy.
"""

from collections.abc import Sequence

from onnx import ModelProto, TensorProto, helper

from tinyml.export.lower import INPUT


def start_blocked(stages: Sequence[ModelProto]) -> None:
    """Put a MaxPool 1x1 behind each float image that crosses, where a Conv and an Add read it, in place."""
    for stage in stages:
        graph = stage.graph
        for item in graph.input:
            kind = item.type.tensor_type
            readers = [node for node in graph.node if item.name in node.input]
            image = item.name != INPUT and kind.elem_type == TensorProto.FLOAT and len(kind.shape.dim) == 4
            if not image or not {"Conv", "Add"} <= {node.op_type for node in readers}:
                continue
            blocked = f"{item.name}_blocked"
            for node in readers:
                node.input[:] = [blocked if name == item.name else name for name in node.input]
            pool = helper.make_node("MaxPool", [item.name], [blocked], name=blocked, kernel_shape=[1, 1])
            graph.node.insert(0, pool)
