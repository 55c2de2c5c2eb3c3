import numpy as np
import pytest
from onnx import helper, numpy_helper

from tinyml.export.rewrites.four_bit_weights import store_four_bits
from tinyml.export.rewrites.zero_points import write_zero_points

CONSTANTS = {"fc.weight_quantized": np.ones((2, 4), np.int8), "scales": np.array([0.5, 2.0], np.float32)}


def weighted(hand_made, operator: str):
    nodes = [
        helper.make_node("DequantizeLinear", ["fc.weight_quantized", "scales"], ["w"], axis=0),
        helper.make_node("Gemm", ["input", "w"], ["output"], transB=1),
    ]
    if operator == "MatMul":
        nodes[1:] = [
            helper.make_node("Transpose", ["w"], ["t"]),
            helper.make_node("MatMul", ["input", "t"], ["output"]),
        ]
    return hand_made(nodes, CONSTANTS)


def test_the_zero_point_of_a_gemms_weight_is_written_out(hand_made):
    made = weighted(hand_made, "Gemm")
    assert made.outputs_kept_by(write_zero_points)
    zeros = next(item for item in made.graph.initializer if item.name == "fc.weight_zero_point")
    assert numpy_helper.to_array(zeros).tolist() == [0, 0]
    assert numpy_helper.to_array(zeros).dtype == np.int8


@pytest.mark.parametrize(("operator", "times"), [("MatMul", 1), ("Gemm", 2)], ids=["no Gemm", "written already"])
def test_nothing_is_written_where_it_is_not_needed(hand_made, operator: str, times: int):
    made = weighted(hand_made, operator)
    for _ in range(times):
        write_zero_points(made.graph)
    assert len(made.graph.initializer) == 2 + (operator == "Gemm")


def test_codes_of_four_bits_get_none(hand_made):
    made = weighted(hand_made, "Gemm")
    store_four_bits(made.graph)
    assert made.outputs_kept_by(write_zero_points)
    assert len(made.graph.node[0].input) == 2
