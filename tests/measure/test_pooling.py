from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from tinyml.export.rewrites.integer_pools import convolve_integer_pools
from tinyml.measure.macs import count_macs
from tinyml.measure.network import read_network
from tinyml.measure.parameters import count_parameters


@pytest.fixture
def pooled() -> onnx.ModelProto:
    """A convolution of integers, and the mean of 4 x 4 places of what it gives."""
    grid = ["scale", "zero"]
    nodes = [
        helper.make_node("DequantizeLinear", ["weight", "scale"], ["w"]),
        helper.make_node("Conv", ["input", "w"], ["x"], kernel_shape=[1, 1]),
        helper.make_node("QuantizeLinear", ["x", *grid], ["q"]),
        helper.make_node("DequantizeLinear", ["q", *grid], ["y"]),
        helper.make_node("AveragePool", ["y"], ["z"], kernel_shape=[4, 4], strides=[4, 4]),
        helper.make_node("QuantizeLinear", ["z", *grid], ["p"]),
        helper.make_node("DequantizeLinear", ["p", *grid], ["output"]),
    ]
    constants = {"weight": np.ones((5, 2, 1, 1), np.int8), "scale": np.float32(0.1), "zero": np.uint8(0)}
    graph = helper.make_graph(
        nodes,
        "graph",
        [helper.make_tensor_value_info("input", TensorProto.FLOAT, ["batch", 2, 8, 8])],
        [helper.make_tensor_value_info("output", TensorProto.FLOAT, ["batch", 5, 2, 2])],
        [numpy_helper.from_array(np.asarray(value), name) for name, value in constants.items()],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 21)], ir_version=10)


@pytest.mark.parametrize("rewrite", [lambda graph: None, convolve_integer_pools], ids=["pooling", "as convolution"])
def test_pooling_counts_as_pooling_however_it_is_written(
    pooled: onnx.ModelProto, rewrite: Callable[[onnx.GraphProto], None], tmp_path: Path
) -> None:
    rewrite(pooled.graph)
    onnx.save(pooled, tmp_path / "model.onnx")
    network = read_network(tmp_path / "model.onnx")
    assert count_macs(network).worst == 5 * 8 * 8 * 2
    assert count_parameters(network) == {"weight": (10, 10)}
