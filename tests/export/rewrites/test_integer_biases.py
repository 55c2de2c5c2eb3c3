import numpy as np
import pytest
from onnx import helper, numpy_helper

from tinyml.export.rewrites.integer_biases import quantize_biases

SCALES = np.array([0.5, 0.25], np.float32)
CONSTANTS = {
    "s": np.float32(0.125),
    "z": np.uint8(128),
    "codes": np.array([[1, -2, 3, 127], [4, 5, 6, -7]], np.int8),
    "scales": SCALES,
    "bias": np.array([10.0, -3.03], np.float32),
}
QUANTIZED_INPUT = [
    helper.make_node("QuantizeLinear", ["input", "s", "z"], ["q"]),
    helper.make_node("DequantizeLinear", ["q", "s", "z"], ["x"]),
    helper.make_node("DequantizeLinear", ["codes", "scales"], ["w"], axis=0),
]


def gemm(hand_made, constants=CONSTANTS, *, data: str = "x", extra=(), outputs=("output",)):
    node = helper.make_node("Gemm", [data, "w", "bias"], ["output"], "gemm", transB=1)
    return hand_made([*QUANTIZED_INPUT, node, *extra], constants, outputs=outputs)


def constant(made, name: str) -> np.ndarray:
    return next(numpy_helper.to_array(item) for item in made.graph.initializer if item.name == name)


def test_a_bias_is_stored_on_the_grid_of_the_accumulator(hand_made):
    made = gemm(hand_made)
    quantize_biases(made.graph)
    assert constant(made, "bias_scale").tolist() == [0.0625, 0.03125]
    assert constant(made, "bias_quantized").tolist() == [160, -97]  # 10 / 0.0625 and -3.03 / 0.03125 = -96.96
    assert constant(made, "bias_quantized").dtype == np.int32


def test_the_result_moves_by_no_more_than_half_a_step(hand_made):
    made = gemm(hand_made)
    before = made.run()[0]
    quantize_biases(made.graph)
    moved = np.abs(made.run()[0] - before).max(axis=0)
    assert (moved <= 0.125 * SCALES / 2 + 1e-4).all()


def test_a_bias_of_a_layer_with_a_float_input_stays(hand_made):
    made = gemm(hand_made, data="input")
    assert made.outputs_kept_by(quantize_biases)
    assert made.operators.count("DequantizeLinear") == 2


def test_a_bias_that_does_not_fit_32_bits_stays_in_float_and_this_is_said(hand_made, caplog: pytest.LogCaptureFixture):
    made = gemm(hand_made, CONSTANTS | {"bias": np.array([1e9, 0.0], np.float32)})
    assert made.outputs_kept_by(quantize_biases)
    assert "bias does not fit 32 bits" in caplog.text


def test_a_layer_that_is_called_on_two_grids_gets_a_bias_for_each(hand_made):
    again = [
        helper.make_node("QuantizeLinear", ["input", "s2", "z"], ["q2"]),
        helper.make_node("DequantizeLinear", ["q2", "s2", "z"], ["x2"]),
        helper.make_node("Gemm", ["x2", "w", "bias"], ["second"], "gemm2", transB=1),
    ]
    made = gemm(hand_made, CONSTANTS | {"s2": np.float32(0.25)}, extra=again, outputs=("output", "second"))
    quantize_biases(made.graph)
    assert constant(made, "bias_quantized").tolist() == [160, -97]
    assert constant(made, "bias_quantized_2").tolist() == [80, -48]
    assert [node.input[2] for node in made.graph.node if node.op_type == "Gemm"] == [
        "bias_dequantized",
        "bias_dequantized_2",
    ]
    made.run()
