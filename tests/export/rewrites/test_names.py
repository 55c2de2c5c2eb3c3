import numpy as np
import pytest
from onnx import helper

from tinyml.export.rewrites.names import name_constants, name_layers


@pytest.mark.parametrize(
    ("exported", "name"),
    [
        ("layer1.0.conv.parametrizations.weight.0.codes", "layer1.0.conv.weight_quantized"),
        ("layer1.0.conv.parametrizations.weight.0.scale", "layer1.0.conv.weight_scale"),
        ("layer1.0.conv.parametrizations.weight.original", "layer1.0.conv.weight"),
        ("layer1.0.conv.parametrizations.weight.1.stored", "layer1.0.conv.weight"),
        ("layer1.0.conv.parametrizations.weight.2.factor", "layer1.0.conv.weight_factor"),
        ("activation_quantizers.relu_1_grid.scale", "relu_1_scale"),
        ("activation_quantizers.relu_1_grid.zero_point", "relu_1_zero_point"),
        ("body.conv.input_quantizer.scale", "body.conv.input_scale"),
        ("wrapped_network.fc.bias", "fc.bias"),
        ("wrapped_network.wrapped_network.fc.parametrizations.weight.0.codes", "fc.weight_quantized"),
        ("network.fc.bias", "network.fc.bias"),
        ("fc.bias", "fc.bias"),
    ],
)
def test_a_constant_is_named_after_its_module(hand_made, exported: str, name: str):
    made = hand_made([helper.make_node("Add", ["input", exported], ["output"])], {exported: np.ones(4, np.float32)})
    assert made.outputs_kept_by(name_constants)
    assert [item.name for item in made.graph.initializer] == [name]


def test_a_name_that_is_taken_stays_as_exported(hand_made):
    nodes = [
        helper.make_node("Add", ["input", "w"], ["y"]),
        helper.make_node("Mul", ["y", "wrapped_network.w"], ["output"]),
    ]
    made = hand_made(nodes, {"w": np.ones(4, np.float32), "wrapped_network.w": np.full(4, 3, np.float32)})
    assert made.outputs_kept_by(name_constants)
    assert [item.name for item in made.graph.initializer] == ["w", "wrapped_network.w"]


def test_a_node_is_named_after_its_layer_and_the_calls_of_one_layer_are_numbered(hand_made):
    nodes = [
        helper.make_node("MatMul", ["input", "fc.weight"], ["y"], name="MatMul_0"),
        helper.make_node("MatMul", ["y", "fc.weight"], ["z"], name="MatMul_1"),
        helper.make_node("Relu", ["z"], ["output"], name="Relu_2"),
    ]
    made = hand_made(nodes, {"fc.weight": np.eye(4, dtype=np.float32)})
    assert made.outputs_kept_by(name_layers)
    assert [node.name for node in made.graph.node] == ["fc", "fc_2", "Relu_2"]


def test_an_integer_layer_is_named_after_the_layer_of_its_codes(hand_made):
    nodes = [
        helper.make_node(
            "DequantizeLinear", ["fc.weight_quantized", "fc.weight_scale"], ["w"], name="DequantizeLinear_0"
        ),
        helper.make_node("MatMul", ["input", "w"], ["output"], name="MatMul_1"),
    ]
    codes = {"fc.weight_quantized": np.eye(4, dtype=np.int8), "fc.weight_scale": np.float32(0.5)}
    made = hand_made(nodes, codes)
    assert made.outputs_kept_by(name_layers)
    assert [node.name for node in made.graph.node] == ["DequantizeLinear_0", "fc"]


def test_a_layer_is_named_after_the_weight_before_its_factors(hand_made):
    nodes = [
        helper.make_node("Mul", ["fc.weight", "fc.weight_factor"], ["scaled"], name="Mul_0"),
        helper.make_node("Transpose", ["scaled"], ["turned"], name="Transpose_1", perm=[1, 0]),
        helper.make_node("MatMul", ["input", "turned"], ["output"], name="MatMul_2"),
    ]
    made = hand_made(nodes, {"fc.weight": np.eye(4, dtype=np.float32), "fc.weight_factor": np.float32([[2]])})
    assert made.outputs_kept_by(name_layers)
    assert made.graph.node[2].name == "fc"
