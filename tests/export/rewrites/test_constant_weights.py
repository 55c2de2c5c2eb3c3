import numpy as np
import pytest
from onnx import helper, numpy_helper

from tinyml.export.rewrites.constant_weights import transpose_constant_weights

CODES = np.arange(-6, 6, dtype=np.int8).reshape(3, 4)
SCALES = np.array([0.5, 1.0, 2.0], np.float32)


def linear(hand_made, *, extra=()):
    nodes = [
        helper.make_node("DequantizeLinear", ["codes", "scales"], ["w"], axis=0),
        helper.make_node("Transpose", ["w"], ["wt"], perm=[1, 0]),
        helper.make_node("MatMul", ["input", "wt"], ["output"]),
        *extra,
    ]
    return hand_made(nodes, {"codes": CODES, "scales": SCALES}, outputs=("output", "t") if extra else ("output",))


def test_transposed_codes_are_stored_transposed(hand_made):
    made = linear(hand_made)
    assert made.outputs_kept_by(transpose_constant_weights)
    assert made.operators == ["DequantizeLinear", "MatMul"]
    assert np.array_equal(numpy_helper.to_array(made.graph.initializer[0]), CODES.T)


@pytest.mark.parametrize(
    "extra",
    [
        helper.make_node("Identity", ["w"], ["t"]),
        helper.make_node("DequantizeLinear", ["codes", "scales"], ["t"], axis=0),
    ],
    ids=["the weight", "the codes"],
)
def test_a_weight_that_something_else_reads_stays(hand_made, extra):
    made = linear(hand_made, extra=[extra])
    assert made.outputs_kept_by(transpose_constant_weights)
    assert "Transpose" in made.operators


def test_a_transposed_activation_stays(hand_made):
    made = hand_made([helper.make_node("Transpose", ["input"], ["output"], perm=[1, 0])])
    assert made.outputs_kept_by(transpose_constant_weights)
    assert made.operators == ["Transpose"]
