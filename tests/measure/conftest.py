"""Small graphs written by hand, whose figures a reader can work out."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import numpy as np
import pytest
from onnx import GraphProto, ModelProto, NodeProto, TensorProto, helper, numpy_helper, save

MakeGraph = Callable[..., Path]

TYPES = {"float": TensorProto.FLOAT, "uint8": TensorProto.UINT8, "bool": TensorProto.BOOL}


def graph_of(
    nodes: Sequence[NodeProto],
    *,
    inputs: Mapping[str, Sequence[int | str]],
    outputs: Mapping[str, Sequence[int | str]],
    constants: Mapping[str, np.ndarray] = {},
    input_type: str = "float",
) -> GraphProto:
    return helper.make_graph(
        list(nodes),
        "graph",
        [helper.make_tensor_value_info(name, TYPES[input_type], shape) for name, shape in inputs.items()],
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, shape) for name, shape in outputs.items()],
        [numpy_helper.from_array(np.asarray(value), name) for name, value in constants.items()],
    )


def model_of(graph: GraphProto) -> ModelProto:
    opsets = [helper.make_opsetid("", 21), helper.make_opsetid("com.microsoft", 1)]
    return helper.make_model(graph, opset_imports=opsets, ir_version=10)


@pytest.fixture
def save_graph(tmp_path: Path) -> MakeGraph:
    """Returns a function that writes a graph and gives its path."""

    def write(nodes: Sequence[NodeProto], name: str = "model.onnx", **parts: object) -> Path:
        path = tmp_path / name
        save(model_of(graph_of(nodes, **parts)), path)
        return path

    return write


@pytest.fixture
def convolution(save_graph: MakeGraph) -> Path:
    """3 -> 4 channels, 3x3, 8x8 pixels, bias, Relu, mean over the pixels, then 4 -> 2 linear with bias."""
    generator = np.random.default_rng(0)
    return save_graph(
        [
            helper.make_node("Conv", ["input", "w", "b"], ["y"], "conv", pads=[1, 1, 1, 1], kernel_shape=[3, 3]),
            helper.make_node("Relu", ["y"], ["z"], "relu"),
            helper.make_node("GlobalAveragePool", ["z"], ["p"], "pool"),
            helper.make_node("Flatten", ["p"], ["f"], "flatten"),
            helper.make_node("Gemm", ["f", "v", "c"], ["output"], "linear", transB=1),
        ],
        inputs={"input": ["batch", 3, 8, 8]},
        outputs={"output": ["batch", 2]},
        constants={
            "w": generator.standard_normal((4, 3, 3, 3)).astype(np.float32),
            "b": np.ones(4, np.float32),
            "v": generator.standard_normal((2, 4)).astype(np.float32),
            "c": np.zeros(2, np.float32),
        },
    )


@pytest.fixture
def quantized(save_graph: MakeGraph) -> Path:
    """A QDQ convolution 1 -> 2 channels, 1x1, 4x4 pixels; int8 weights 0 and 5; a float mean behind it."""
    step = np.float32(0.5)
    return save_graph(
        [
            helper.make_node("QuantizeLinear", ["input", "s", "z"], ["q"]),
            helper.make_node("DequantizeLinear", ["q", "s", "z"], ["x"]),
            helper.make_node("DequantizeLinear", ["w", "ws", "wz"], ["wf"], axis=0),
            helper.make_node("Conv", ["x", "wf"], ["y"], "conv", kernel_shape=[1, 1]),
            helper.make_node("Relu", ["y"], ["r"], "relu"),
            helper.make_node("QuantizeLinear", ["r", "s", "z"], ["rq"]),
            helper.make_node("DequantizeLinear", ["rq", "s", "z"], ["rf"]),
            helper.make_node("ReduceMean", ["rf", "axes"], ["output"], "mean", keepdims=0),
        ],
        "quantized.onnx",
        inputs={"input": ["batch", 1, 4, 4]},
        outputs={"output": ["batch", 2]},
        constants={
            "s": step,
            "z": np.uint8(0),
            "w": np.array([0, 5], np.int8).reshape(2, 1, 1, 1),
            "ws": np.array([0.1, 0.2], np.float32),
            "wz": np.zeros(2, np.int8),
            "axes": np.array([2, 3], np.int64),
        },
    )
