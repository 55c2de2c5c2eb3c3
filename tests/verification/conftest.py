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


def integer_model(
    operator: str,
    codes: np.ndarray,
    *,
    bias: np.ndarray | None = None,
    bias_factor: float = 1.0,
    scales: tuple[float, float, float] = (0.5, 0.25, 8.0),
    zeros: tuple[int, int] = (100, 30),
    activation: type = np.uint8,
    between: tuple[str, ...] = (),
    **attributes: object,
) -> onnx.ModelProto:
    """Return Q -> DQ -> (Conv | Gemm | MatMul) -> [Relu | Clip] -> Q -> DQ, which maps codes to codes.

    Args:
        operator: the layer.
        codes: of the weight, as the operator takes it, of their own type.
        bias: its codes (C_out,), or its values where they are float32; None for none.
        bias_factor: how many times too large the scale of the bias is.
        scales: of input, weight and output.
        zeros: zero points of input and output.
        activation: type of the codes of input and output.
        between: an operator and its limits, the names of "low", "high" or "".
        attributes: of the layer.
    """
    matrix = operator == "MatMul" or (operator == "Gemm" and not attributes.get("transB"))
    channels, width = (codes.shape[1], codes.shape[0]) if matrix else codes.shape[:2]
    width, spatial = width * int(str(attributes.get("group", 1))), ["h", "w", "d"][: codes.ndim - 2]
    constants = {
        "s": np.float32(scales[0]),
        "z": np.asarray(zeros[0], activation),
        "w": codes,
        "ws": np.full(channels, scales[1], np.float32),
        "wz": np.zeros(channels, codes.dtype),
        "bs": np.full(channels, scales[0] * scales[1] * bias_factor, np.float32),
        "ys": np.float32(scales[2]),
        "yz": np.asarray(zeros[1], activation),
        "low": np.float32(-100.0),
        "high": np.float32(500.0),
    }
    inputs = ["x", "wf"]
    nodes = [
        helper.make_node("QuantizeLinear", ["input", "s", "z"], ["q"]),
        helper.make_node("DequantizeLinear", ["q", "s", "z"], ["x"]),
        helper.make_node("DequantizeLinear", ["w", "ws", "wz"], ["wf"], axis=1 if matrix else 0),
    ]
    if bias is not None:
        constants["b"] = bias
        inputs.append("b" if bias.dtype == np.float32 else "bf")
        if bias.dtype != np.float32:
            nodes.append(helper.make_node("DequantizeLinear", ["b", "bs"], ["bf"], axis=0))
    nodes.append(helper.make_node(operator, inputs, ["y"], name="layer", **attributes))
    if between:
        nodes.append(helper.make_node(between[0], ["y", *between[1:]], ["limited"]))
    nodes += [
        helper.make_node("QuantizeLinear", ["limited" if between else "y", "ys", "yz"], ["yq"]),
        helper.make_node("DequantizeLinear", ["yq", "ys", "yz"], ["output"]),
    ]
    graph = helper.make_graph(
        nodes,
        "graph",
        [helper.make_tensor_value_info("input", TensorProto.FLOAT, ["batch", width, *spatial])],
        [helper.make_tensor_value_info("output", TensorProto.FLOAT, None)],
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
def integer_graph() -> MakeModel:
    return integer_model


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
