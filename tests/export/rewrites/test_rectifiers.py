import numpy as np
import pytest
from onnx import helper

from tinyml.export.rewrites.rectifiers import remove_redundant_rectifiers


def rectified(
    hand_made, rectifier: str, scale: float, zero_point: np.ndarray, low: float = 0.0, high: float = 6.0, extra=()
):
    inputs = ["input", "low", "high"] if rectifier == "Clip" else ["input"]
    nodes = [
        helper.make_node(rectifier, inputs, ["r"]),
        helper.make_node("QuantizeLinear", ["r", "s", "z"], ["q"]),
        helper.make_node("DequantizeLinear", ["q", "s", "z"], ["output"]),
        *extra,
    ]
    constants = {"s": np.float32(scale), "z": zero_point, "low": np.float32(low), "high": np.float32(high)}
    return hand_made(nodes, constants, shape=("batch", 4000), outputs=("output", "r") if extra else ("output",))


REMOVED = {
    "ReLU before codes from zero": ("Relu", 0.02, np.uint8(0)),
    "ReLU before int8 codes from zero": ("Relu", 0.02, np.int8(-128)),
    "ReLU6 before a grid that ends at 6": ("Clip", 6 / 255, np.uint8(0)),
    "ReLU6 before a grid that ends below 6": ("Clip", 0.01, np.uint8(0)),
    "ReLU6 before a grid that ends 0.4 steps above 6": ("Clip", 6 / 254.6, np.uint8(0)),
}
KEPT = {
    "ReLU before codes that reach below zero": ("Relu", 0.02, np.uint8(10)),
    "ReLU before a symmetric grid": ("Relu", 0.02, np.int8(0)),
    "ReLU6 before a grid that ends one step above 6": ("Clip", 6 / 254, np.uint8(0)),
    "ReLU6 before codes that reach below zero": ("Clip", 0.01, np.uint8(1)),
}


@pytest.mark.parametrize("case", REMOVED.values(), ids=REMOVED)
def test_what_the_quantizer_does_anyway_is_removed(hand_made, case):
    made = rectified(hand_made, *case)
    assert made.outputs_kept_by(remove_redundant_rectifiers)
    assert made.operators == ["QuantizeLinear", "DequantizeLinear"]


@pytest.mark.parametrize("case", KEPT.values(), ids=KEPT)
def test_a_rectifier_that_still_cuts_stays(hand_made, case):
    made = rectified(hand_made, *case)
    assert made.outputs_kept_by(remove_redundant_rectifiers)
    assert case[0] in made.operators


def test_a_rectifier_that_something_else_reads_stays(hand_made):
    made = rectified(hand_made, "Relu", 0.02, np.uint8(0), extra=[helper.make_node("Sin", ["r"], ["t"])])
    remove_redundant_rectifiers(made.graph)
    assert "Relu" in made.operators


def test_a_rectifier_with_computed_limits_stays(hand_made):
    made = rectified(hand_made, "Clip", 6 / 255, np.uint8(0))
    made.graph.node.insert(0, helper.make_node("Sqrt", ["six"], ["computed"]))
    made.graph.initializer.append(helper.make_tensor("six", 1, [], [6.0]))
    made.graph.node[1].input[2] = "computed"
    assert made.outputs_kept_by(remove_redundant_rectifiers)
    assert "Clip" in made.operators


def test_a_clip_without_limits_is_removed(hand_made):
    made = rectified(hand_made, "Clip", 0.02, np.uint8(7))
    del made.graph.node[0].input[1:]
    assert made.outputs_kept_by(remove_redundant_rectifiers)
    assert "Clip" not in made.operators


@pytest.mark.parametrize(
    ("rectifier", "scale", "zero_point", "first", "last", "stays"),
    [
        ("Relu", 0.1, np.int8(-8), -8, 7, False),
        ("Relu", 0.1, np.int8(-7), -8, 7, True),
        ("Clip", 6 / 15, np.uint8(0), 0, 15, False),
        ("Clip", 6 / 14, np.uint8(0), 0, 15, True),
    ],
    ids=["4 bits from zero", "4 bits from below zero", "ReLU6 and 4 bits up to 6", "ReLU6 and 4 bits beyond 6"],
)
def test_codes_that_are_clipped_count_as_the_grid(hand_made, rectifier, scale, zero_point, first, last, stays):
    made = rectified(hand_made, rectifier, scale, zero_point)
    made.graph.node.insert(2, helper.make_node("Clip", ["q", "first", "last"], ["c"]))
    made.graph.node[3].input[0] = "c"
    limits = {"first": first, "last": last}
    kind = helper.np_dtype_to_tensor_dtype(np.asarray(zero_point).dtype)
    made.graph.initializer.extend(helper.make_tensor(name, kind, [], [code]) for name, code in limits.items())
    assert made.outputs_kept_by(remove_redundant_rectifiers)
    assert (made.operators[0] == rectifier) is stays
