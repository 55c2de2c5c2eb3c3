"""The value of a DequantizeLinear node: (q - zero_point) x scale."""

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray
from onnx.onnx_ml_pb2 import NodeProto


def dequantized(node: NodeProto, inputs: Mapping[str, NDArray[Any]]) -> NDArray[Any]:
    """Return (q - zero_point) x scale, along the axis or in the blocks of the node; onnx's reference wants opset 19."""
    names = list(node.input)
    q = inputs[names[0]].astype(np.float32)
    scale = inputs[names[1]].astype(np.float32)
    zero = inputs[names[2]].astype(np.float32) if len(names) > 2 and names[2] else np.zeros_like(scale)
    settings = {entry.name: entry.i for entry in node.attribute}
    axis = settings.get("axis", 1)
    if block := settings.get("block_size", 0):
        scale, zero = (np.repeat(entry, block, axis=axis).take(range(q.shape[axis]), axis) for entry in (scale, zero))
    elif scale.size > 1:
        along = [1] * q.ndim
        along[axis] = -1
        scale, zero = scale.reshape(along), zero.reshape(along)
    result: NDArray[Any] = (q - zero) * scale
    return result
