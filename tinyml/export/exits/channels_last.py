"""Let images of integers cross from stage to stage with channels last, as onnxruntime's integer kernels want them.

    stage i     ... -> codes (N, C, H, W) -> Transpose -> (N, H, W, C)
    stage j                                               (N, H, W, C) -> Transpose -> codes (N, C, H, W) -> ...

onnxruntime computes integer convolutions with channels last. Within one graph it moves the transpositions from the
input down to the output, and they cancel. A graph that begins behind the border with channels first, and whose first
convolution has a shortcut around it, keeps two for every convolution: a tenth of the time of an int8 ResNet-20. The
pair at the border cancels against those of the kernels beside it.
"""

from collections.abc import Sequence
from typing import Final

import onnx
from onnx import ModelProto, TensorProto, ValueInfoProto, helper

from tinyml.export.lower import INPUT

_INTEGERS: Final = (TensorProto.UINT8, TensorProto.INT8)


def put_channels_last(stages: Sequence[ModelProto]) -> None:
    """Transpose the tensors (N, C, H, W) of 8-bit integers that cross, on both sides of the border, in place."""
    for stage in stages:
        graph = stage.graph
        for item in filter(_is_integer_image, graph.output[1:]):
            codes, turned = item.name, _turn(item)
            graph.node.append(helper.make_node("Transpose", [codes], [turned], name=turned, perm=[0, 2, 3, 1]))
        for item in filter(_is_integer_image, graph.input):
            codes, turned = item.name, _turn(item)
            back = helper.make_node("Transpose", [turned], [codes], name=f"{turned}_first", perm=[0, 3, 1, 2])
            graph.node.insert(0, back)


def _is_integer_image(item: ValueInfoProto) -> bool:
    kind = item.type.tensor_type
    return item.name != INPUT and kind.elem_type in _INTEGERS and len(kind.shape.dim) == 4


def _turn(item: ValueInfoProto) -> str:
    """Put the channels of a type last and say so in its name; return the name."""
    shape = item.type.tensor_type.shape
    batch, channels, height, width = shape.dim
    shape.CopyFrom(onnx.TensorShapeProto(dim=[batch, height, width, channels]))
    item.name = f"{item.name}_channels_last"
    return item.name
