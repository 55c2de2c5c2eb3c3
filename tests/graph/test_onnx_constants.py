from itertools import pairwise

import numpy as np
import pytest
from onnx import TensorProto, helper, numpy_helper

from tinyml.graph.onnx_constants import Constants

STORED = {
    "input_scale": np.float32(1),
    "w_mask": np.uint8([[0b01100000]]),
    "w_nonzeros": np.float32([0, 5, 7]),
    "powers": np.uint8([128, 64, 32, 16, 8, 4, 2, 1]),
    "axis": np.int64(0),
    "shape": np.int64([2, 4]),
    "flat": np.int64([-1]),
}
NODES = [
    helper.make_node("BitwiseAnd", ["w_mask", "powers"], ["a"]),
    helper.make_node("Cast", ["a"], ["b"], to=TensorProto.BOOL),
    helper.make_node("Cast", ["b"], ["c"], to=TensorProto.INT32),
    helper.make_node("Reshape", ["c", "flat"], ["d"]),
    helper.make_node("CumSum", ["d", "axis"], ["e"]),
    helper.make_node("Mul", ["e", "d"], ["f"]),
    helper.make_node("Gather", ["w_nonzeros", "f"], ["g"]),
    helper.make_node("Reshape", ["g", "shape"], ["w"]),
    helper.make_node("Mul", ["w", "input_scale"], ["scaled"]),
    helper.make_node("Mul", ["w", "input"], ["output"]),
    helper.make_node("RandomNormal", [], ["noise"], shape=[1]),
]


@pytest.fixture
def constants() -> Constants:
    initializers = {name: numpy_helper.from_array(np.asarray(value), name) for name, value in STORED.items()}
    return Constants(initializers, {node.output[0]: node for node in NODES})


@pytest.mark.parametrize(("name", "constant"), [("w", True), ("shape", True), ("output", False), ("noise", False)])
def test_a_constant_depends_on_no_input(constants: Constants, name: str, constant: bool) -> None:
    assert (name in constants) is constant


@pytest.mark.parametrize(("start", "constant"), [("axis", True), ("input", False)], ids=["stored", "an input"])
def test_a_chain_of_operators_may_be_longer_than_pythons_stack(start: str, constant: bool) -> None:
    names = [start, *map(str, range(3000))]
    producers = {new: helper.make_node("Neg", [old], [new]) for old, new in pairwise(names)}
    assert ("2999" in Constants({"axis": numpy_helper.from_array(np.int64(0))}, producers)) is constant


def test_a_weight_without_zeros_is_read_with_them(constants: Constants) -> None:
    assert constants.value("w").tolist() == [[0, 5, 7, 0], [0, 0, 0, 0]]
    assert constants.parts("w") == ("w_mask", "w_nonzeros")
    assert constants.parts("scaled") == ()


def test_a_weight_without_zeros_is_one_source(constants: Constants) -> None:
    assert constants.sources("scaled") == ("w", "input_scale")


def test_what_lies_between_is_not_kept(constants: Constants) -> None:
    assert constants.value("w") is constants.value("w")
    assert set(constants._values) == {"w"}


@pytest.mark.parametrize("entries", [4, 64], ids=["few", "more than onnx's reference gathers from"])
def test_a_table_for_each_row_is_looked_up(entries: int) -> None:
    table = np.arange(2 * entries, dtype=np.float32).reshape(2, entries)
    indices = np.int64([[0, entries - 1, 1], [3, 0, entries - 1]])
    stored = {"table": numpy_helper.from_array(table, "table"), "i": numpy_helper.from_array(indices, "i")}
    node = helper.make_node("GatherElements", ["table", "i"], ["w"], axis=1)
    expected = [[0, entries - 1, 1], [entries + 3, entries, 2 * entries - 1]]
    assert Constants(stored, {"w": node}).value("w").tolist() == expected
