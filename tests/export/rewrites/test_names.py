import numpy as np
import pytest
from onnx import helper

from tinyml.export.rewrites.names import name_constants


@pytest.mark.parametrize(
    ("exported", "name"),
    [
        ("layer1.0.conv.parametrizations.weight.0.codes", "layer1.0.conv.weight_quantized"),
        ("layer1.0.conv.parametrizations.weight.0.scale", "layer1.0.conv.weight_scale"),
        ("layer1.0.conv.parametrizations.weight.original", "layer1.0.conv.weight"),
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
