import numpy as np
import pytest
from onnx import helper

from tinyml.export.rewrites.decoded_weights import decode_float_weights

CODES = np.arange(-6, 6, dtype=np.int8).reshape(4, 3)
SCALES = np.array([0.5, 1.0, 0.25], np.float32)
ZEROS = np.array([1, -2, 0], np.int8)
QUANTIZED = [
    helper.make_node("QuantizeLinear", ["input", "s", "z"], ["q"]),
    helper.make_node("DequantizeLinear", ["q", "s", "z"], ["x"]),
]


def linear(hand_made, *, axis=1, scales=SCALES, zeros=None, before=(), after="MatMul"):
    inputs = ["codes", "scales"] if zeros is None else ["codes", "scales", "zeros"]
    data = "x" if before else "input"
    nodes = [
        *before,
        helper.make_node("DequantizeLinear", inputs, ["w"], axis=axis),
        helper.make_node(after, [data, "w"], ["output"]),
    ]
    constants = {"codes": CODES, "scales": scales, "s": np.float32(0.1), "z": np.uint8(128)}
    return hand_made(nodes, constants if zeros is None else {**constants, "zeros": zeros})


CASES = {
    "a scale for each column": (1, SCALES, None),
    "a scale for each row": (0, np.array([0.5, 1.0, 0.25, 3.0], np.float32), None),
    "one scale": (1, np.float32(0.3), None),
    "zero points": (1, SCALES, ZEROS),
    "one zero point": (1, np.float32(0.3), np.int8(7)),
    "zero points that are 0": (1, SCALES, np.zeros(3, np.int8)),
}


@pytest.mark.parametrize(("axis", "scales", "zeros"), CASES.values(), ids=CASES)
def test_the_weight_of_a_float_layer_is_computed_from_constants(hand_made, axis, scales, zeros):
    made = linear(hand_made, axis=axis, scales=scales, zeros=zeros)
    assert made.outputs_kept_by(decode_float_weights)
    shifted = ["Sub"] if zeros is not None and zeros.any() else []
    assert made.operators == ["Cast", *shifted, "Mul", "MatMul"]


def test_behind_a_reshape_it_is_found(hand_made):
    made = linear(hand_made)
    made.graph.node.insert(1, helper.make_node("Reshape", ["w", "shape"], ["r"]))
    made.graph.initializer.append(helper.make_tensor("shape", 7, [2], [4, 3]))
    made.graph.node[2].input[1] = "r"
    assert made.outputs_kept_by(decode_float_weights)
    assert "DequantizeLinear" not in made.operators


def test_the_weight_of_an_integer_layer_stays(hand_made):
    made = linear(hand_made, before=QUANTIZED)
    assert made.outputs_kept_by(decode_float_weights)
    assert made.operators.count("DequantizeLinear") == 2


@pytest.mark.parametrize("after", ["Add", "Sub"])
def test_what_is_no_weight_stays(hand_made, after):
    made = linear(hand_made, after=after, axis=0, scales=np.ones(4, np.float32))
    made.graph.initializer[0].CopyFrom(helper.make_tensor("codes", 3, [4], [1, 2, 3, 4]))
    assert made.outputs_kept_by(decode_float_weights)
    assert made.operators == ["DequantizeLinear", after]
