"""Behind a border a stage runs as fast as inside the network: no layer keeps a layout to itself."""

import platform
from collections import Counter
from pathlib import Path

import numpy as np
import onnx
import pytest
from exit_models import graph_with_exits, images, tiny
from onnx import helper

from tinyml.export.exits import split_stages
from tinyml.runtime.node_profile import profile_nodes
from tinyml.runtime.session import open_stage


def ran(stage: onnx.ModelProto, x: np.ndarray, folder: Path) -> Counter[str]:
    """How often each operator ran."""
    onnx.save(stage, folder / "stage.onnx")
    return Counter(node.operator for node in profile_nodes(folder / "stage.onnx", [x], runs=3).nodes)


def residual(layers: int) -> onnx.ModelProto:
    """An exit, then residual blocks of 16 channels with identity shortcuts."""
    generator = np.random.default_rng(0)
    constants = {"first": generator.normal(0, 0.2, (16, 4, 3, 3)).astype(np.float32),
                 "head": generator.normal(0, 1, (16, 3)).astype(np.float32)}  # fmt: skip
    nodes, value = [helper.make_node("Conv", ["input", "first"], ["x"], pads=[1] * 4)], "x"
    for layer in range(layers + 1):
        if layer in (0, layers):
            nodes += [
                helper.make_node("GlobalAveragePool", [value], [f"pool{layer}"]),
                helper.make_node("Flatten", [f"pool{layer}"], [f"flat{layer}"]),
                helper.make_node("MatMul", [f"flat{layer}", "head"], [f"output_{int(layer > 0)}"]),
            ]
        if layer < layers:
            constants[f"w{layer}"] = generator.normal(0, 0.1, (16, 16, 3, 3)).astype(np.float32)
            nodes += [
                helper.make_node("Conv", [value, f"w{layer}"], [f"c{layer}"], pads=[1] * 4),
                helper.make_node("Add", [f"c{layer}", value], [f"s{layer}"]),
                helper.make_node("Relu", [f"s{layer}"], [f"r{layer}"]),
            ]
            value = f"r{layer}"
    return graph_with_exits(nodes, constants, exits=2)


@pytest.mark.parametrize(("int8", "crossing"), [(True, [5, 8, 8, 4]), (False, [5, 4, 8, 8])], ids=["int8", "float"])
def test_images_of_integers_cross_with_channels_last(int8: bool, crossing: list[int]) -> None:
    first, *_ = split_stages(tiny(int8=int8))
    values = list(open_stage(first.SerializeToString()).run({"input": images(5)}).values())
    assert list(values[1].shape) == crossing


def test_integer_layers_behind_a_border_turn_once_each_way(tmp_path: Path) -> None:
    _, second, _ = split_stages(tiny(int8=True))
    x = np.zeros((1, 8, 8, 4), np.uint8)
    assert ran(second, x, tmp_path)["Transpose"] <= 1  # the head's: its pooling gives (1, 1, 1, 4)


@pytest.mark.skipif(platform.machine() not in ("x86_64", "AMD64"), reason="the blocked layout is x86's")
def test_residual_blocks_behind_a_border_are_fused(tmp_path: Path) -> None:
    _, second = split_stages(residual(3))
    x = np.zeros((1, 16, 8, 8), np.float32)
    found = ran(second, x, tmp_path)
    assert (found["MaxPool"], found["Conv"], found["Relu"], found["Add"]) == (1, 3, 0, 0)


def test_a_stage_without_shortcuts_copies_nothing() -> None:
    nodes = [node for node in residual(3).graph.node if node.op_type != "Add"]
    for node in nodes:
        node.input[:] = [name.replace("s", "c") if name in ("s0", "s1", "s2") else name for name in node.input]
    model = residual(3)
    del model.graph.node[:]
    model.graph.node.extend(nodes)
    assert "MaxPool" not in [node.op_type for node in split_stages(model)[1].graph.node]


def test_a_head_pools_integers_by_a_convolution() -> None:
    grid = ["scale", "zero"]
    nodes = [
        helper.make_node("QuantizeLinear", ["input", *grid], ["q"]),
        helper.make_node("DequantizeLinear", ["q", *grid], ["x"]),
        helper.make_node("AveragePool", ["x"], ["y"], kernel_shape=[8, 8]),
        helper.make_node("QuantizeLinear", ["y", *grid], ["p"]),
        helper.make_node("DequantizeLinear", ["p", *grid], ["z"]),
        helper.make_node("Flatten", ["z"], ["flat"]),
        helper.make_node("MatMul", ["flat", "head"], ["output_0"]),
        helper.make_node("Neg", ["output_0"], ["output_1"]),
    ]
    constants = {"scale": np.float32(0.1), "zero": np.uint8(9), "head": np.ones((4, 3), np.float32)}
    first, _ = split_stages(graph_with_exits(nodes, constants, exits=2))
    assert {"Conv", "AveragePool"} & {node.op_type for node in first.graph.node} == {"Conv"}
