"""One weight in a small file, stored in fewer bytes, and the file as onnxruntime runs it."""

from collections import Counter
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
from onnx import TensorProto, helper, numpy_helper

from tinyml.export.storage import pack_weights

ONE = np.ones(1, np.float32)


def sparse(shape: tuple[int, ...], kind: type = np.float32, *, zeros: float = 0.7) -> np.ndarray:
    """Numbers from -1 to 1 (integers: -7 to 7), that share of them zero."""
    generator = np.random.default_rng(0)
    values = generator.uniform(-1, 1, shape) if np.dtype(kind).kind == "f" else generator.integers(1, 8, shape)
    return np.where(generator.random(shape) < zeros, 0, values).astype(kind)


def times(weight: np.ndarray, opset: int = 21) -> onnx.ModelProto:
    """output = input x weight, by way of float32."""
    constants, make = {"w": weight}, helper.make_node("Cast", ["w"], ["f"], to=TensorProto.FLOAT)
    if weight.dtype.kind in "iu":
        constants, make = {"w": weight, "s": np.float32(1)}, helper.make_node("DequantizeLinear", ["w", "s"], ["f"])
    graph = helper.make_graph(
        [make, helper.make_node("Mul", ["input", "f"], ["output"])],
        "graph",
        [helper.make_tensor_value_info("input", TensorProto.FLOAT, [1])],
        [helper.make_tensor_value_info("output", TensorProto.FLOAT, list(weight.shape))],
        [numpy_helper.from_array(value, name) for name, value in constants.items()],
    )
    opsets = [helper.make_opsetid("", opset)]
    return helper.make_model(graph, opset_imports=opsets, ir_version=13 if opset >= 25 else 10)


def packed(model: onnx.ModelProto, nonzeros: str = "exact") -> onnx.ModelProto:
    copy = onnx.ModelProto()
    copy.CopyFrom(model)
    pack_weights(copy, nonzeros)
    onnx.checker.check_model(copy, full_check=True)
    return copy


def arrays(model: onnx.ModelProto) -> dict[str, np.ndarray]:
    return {item.name: numpy_helper.to_array(item) for item in model.graph.initializer}


def optimised(model: onnx.ModelProto, folder: Path) -> onnx.GraphProto:
    """The graph as onnxruntime runs it."""
    options = onnxruntime.SessionOptions()
    options.optimized_model_filepath, options.log_severity_level = str(folder / "optimised.onnx"), 4
    onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    return onnx.load(folder / "optimised.onnx").graph


def content(graph: onnx.GraphProto) -> tuple[Counter[str], Counter[bytes]]:
    """The operators and the constants of a graph, whatever their names."""
    return Counter(node.op_type for node in graph.node), Counter(item.raw_data for item in graph.initializer)


def answers(model: onnx.ModelProto, x: np.ndarray, level: onnxruntime.GraphOptimizationLevel) -> np.ndarray:
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level, options.intra_op_num_threads, options.log_severity_level = level, 1, 4
    session = onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    output: np.ndarray = session.run(None, {"input": x})[0]
    return output
