import numpy as np
import pytest
from onnx import TensorProto, helper, numpy_helper

from tinyml.export.rewrites.four_bit_weights import store_four_bits

ROWS = np.arange(-8, 4, dtype=np.int8).reshape(6, 2)
"""Two groups of two weights for each of three channels."""
STEPS = np.array([0.5, 1.0, 2.0, 0.25, 4.0, 0.125], np.float32)
ZEROS = np.array([1, -2, 0, 3, -8, 7], np.int8)


PLAIN = ROWS.reshape(3, 4)


def linear(hand_made, reader: str, *, codes=PLAIN, scale=STEPS[:3], zeros=None, groups: bool = False):
    """DequantizeLinear, a Reshape where there are groups, then MatMul of the Transpose or Gemm with transB."""
    parts = {"codes": codes, "scale": scale} | ({} if zeros is None else {"zeros": zeros})
    nodes = [helper.make_node("DequantizeLinear", list(parts), ["rows" if groups else "w"], axis=0)]
    if groups:
        nodes.append(helper.make_node("Reshape", ["rows", "shape"], ["w"]))
    if reader == "MatMul":
        nodes.append(helper.make_node("Transpose", ["w"], ["t"], perm=[1, 0]))
    weight, settings = ("t", {}) if reader == "MatMul" else ("w", {"transB": 1})
    nodes.append(helper.make_node(reader, ["input", weight], ["output"], **settings))
    return hand_made(nodes, parts | ({"shape": np.array([3, 4])} if groups else {}))


FORMS = {
    "a scale for each channel": {},
    "one scale": {"scale": np.float32(0.5)},
    "zero points": {"zeros": ZEROS[:3]},
    "groups": {"codes": ROWS, "scale": STEPS, "groups": True},
    "groups with zero points": {"codes": ROWS, "scale": STEPS, "zeros": ZEROS, "groups": True},
}


@pytest.mark.parametrize("reader", ["MatMul", "Gemm"])
@pytest.mark.parametrize("form", FORMS.values(), ids=FORMS)
def test_a_linear_layer_reads_int4_as_it_multiplies(hand_made, form: dict, reader: str):
    made = linear(hand_made, reader, **form)
    before = made.run()[0]
    store_four_bits(made.graph)
    assert made.operators == ["DequantizeLinear", reader]
    assert made.graph.initializer[0].data_type == TensorProto.INT4
    assert list(made.graph.initializer[0].dims) == [4, 3]
    assert not any(entry.name == "transB" for entry in made.graph.node[-1].attribute)
    # Four products of at most 15 steps of 4, in float32, added in another order.
    assert np.abs(made.run()[0] - before).max() <= 2**-23 * 4 * 15 * 4 * 6


def test_blocks_lie_along_the_inputs(hand_made):
    made = linear(hand_made, "MatMul", **FORMS["groups"])
    store_four_bits(made.graph)
    node, scales = made.graph.node[0], made.graph.initializer[-1]
    assert {entry.name: entry.i for entry in node.attribute} == {"axis": 0, "block_size": 2}
    assert numpy_helper.to_array(scales).tolist() == STEPS.reshape(3, 2).T.tolist()


def test_a_convolution_keeps_its_rows(hand_made):
    nodes = [
        helper.make_node("DequantizeLinear", ["codes", "scale"], ["rows"], axis=0),
        helper.make_node("Reshape", ["rows", "shape"], ["w"]),
        helper.make_node("Conv", ["input", "w"], ["output"]),
    ]
    constants = {"codes": ROWS, "scale": STEPS, "shape": np.array([3, 1, 2, 2])}
    made = hand_made(nodes, constants, shape=("batch", 1, 4, 4))
    assert made.outputs_kept_by(store_four_bits)
    assert made.operators == ["DequantizeLinear", "Reshape", "Conv"]
    assert made.graph.initializer[0].data_type == TensorProto.INT4


def test_two_codes_share_a_byte_and_an_odd_one_has_its_own(hand_made):
    made = linear(hand_made, "Gemm", codes=np.array([[-8, 7, -1, 3, 5]], np.int8), scale=STEPS[:1])
    store_four_bits(made.graph)
    assert made.graph.initializer[0].raw_data == bytes([0x78, 0x3F, 0x05])
    assert numpy_helper.to_array(made.graph.initializer[0]).tolist() == [[-8], [7], [-1], [3], [5]]


@pytest.mark.parametrize("largest", [-9, 8])
def test_codes_of_more_bits_stay(hand_made, largest: int):
    made = linear(hand_made, "MatMul", codes=np.full((3, 4), largest, np.int8))
    assert made.outputs_kept_by(store_four_bits)
    assert made.operators == ["DequantizeLinear", "Transpose", "MatMul"]


def test_codes_that_two_layers_share_stay(hand_made):
    made = linear(hand_made, "MatMul")
    made.graph.node.append(helper.make_node("DequantizeLinear", ["codes", "scale"], ["again"], axis=0))
    assert made.outputs_kept_by(store_four_bits)
    assert made.graph.initializer[0].data_type == TensorProto.INT8
