"""Small quantized graphs written by hand, and small quantized torch layers."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

MakeModel = Callable[..., onnx.ModelProto]


def quantized_model(
    operator: str, codes: np.ndarray, *, activation: type = np.uint8, scale: float = 0.01, **attributes: int
) -> onnx.ModelProto:
    """Return Q -> DQ -> (Conv | Gemm | MatMul) with int8 weight codes; Conv codes (C_out, C_in, 1, 1)."""
    if operator == "Conv":
        axis, width, spatial = 0, codes.shape[1], [1, 1]
    else:
        axis = 0 if attributes.get("transB") else 1
        width, spatial = codes.shape[1 - axis], []
    channels = codes.shape[axis]
    constants = {
        "s": np.float32(1.0),
        "z": np.zeros((), activation),
        "w": codes.astype(np.int8),
        "ws": np.full(channels, scale, np.float32),
        "wz": np.zeros(channels, np.int8),
    }
    nodes = [
        helper.make_node("QuantizeLinear", ["input", "s", "z"], ["q"]),
        helper.make_node("DequantizeLinear", ["q", "s", "z"], ["x"]),
        helper.make_node("DequantizeLinear", ["w", "ws", "wz"], ["wf"], axis=axis),
        helper.make_node(operator, ["x", "wf"], ["output"], **attributes),
    ]
    graph = helper.make_graph(
        nodes,
        "graph",
        [helper.make_tensor_value_info("input", TensorProto.FLOAT, ["batch", width, *spatial])],
        [helper.make_tensor_value_info("output", TensorProto.FLOAT, ["batch", channels, *spatial])],
        [numpy_helper.from_array(np.asarray(value), name) for name, value in constants.items()],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 21)], ir_version=10)


def float_model(dtype: type = np.float32) -> onnx.ModelProto:
    """Return output = input @ identity(3), the weight stored as `dtype`."""
    kind = helper.np_dtype_to_tensor_dtype(np.dtype(dtype))
    nodes = [
        helper.make_node("Cast", ["input"], ["x"], to=kind),
        helper.make_node("MatMul", ["x", "w"], ["y"]),
        helper.make_node("Cast", ["y"], ["output"], to=TensorProto.FLOAT),
    ]
    graph = helper.make_graph(
        nodes,
        "graph",
        [helper.make_tensor_value_info("input", TensorProto.FLOAT, ["batch", 3])],
        [helper.make_tensor_value_info("output", TensorProto.FLOAT, ["batch", 3])],
        [numpy_helper.from_array(np.eye(3, dtype=dtype), "w")],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 21)], ir_version=10)


@pytest.fixture
def quantized_graph() -> MakeModel:
    return quantized_model


@pytest.fixture
def file_of(tmp_path: Path) -> Callable[[onnx.ModelProto], Path]:
    def write(model: onnx.ModelProto) -> Path:
        path = tmp_path / "model.onnx"
        onnx.save(model, path)
        return path

    return write


@pytest.fixture
def identity() -> MakeModel:
    return float_model
