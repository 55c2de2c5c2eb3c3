import numpy as np
import pytest
from onnx import helper

from tinyml.export.rewrites.index import GraphIndex, attribute, ranks


@pytest.fixture
def made(hand_made):
    nodes = [
        helper.make_node("DequantizeLinear", ["c", "s"], ["w"], axis=0),
        helper.make_node("Add", ["input", "w"], ["y"]),
        helper.make_node("Mul", ["y", "y"], ["output"]),
    ]
    return hand_made(nodes, {"c": np.ones(4, np.int8), "s": np.ones(4, np.float32)})


def test_values_know_their_makers_and_readers(made):
    index = GraphIndex(made.graph)
    assert index.producers["y"].op_type == "Add"
    assert [node.op_type for node in index.consumers["y"]] == ["Mul", "Mul"]
    assert index.dequantizer("w").op_type == "DequantizeLinear"
    assert index.dequantizer("y") is None
    assert index.dequantizer("input") is None


@pytest.mark.parametrize(("value", "alone"), [("w", True), ("y", False), ("output", False)])
def test_the_only_reader_is_given_where_there_is_one(made, value: str, alone: bool):
    assert (GraphIndex(made.graph).only_reader(value) is not None) is alone


def test_attributes_have_defaults(made):
    assert attribute(made.graph.node[0], "axis", 1) == 0
    assert attribute(made.graph.node[1], "axis", 1) == 1


def test_only_constants_are_arrays(made):
    assert GraphIndex(made.graph).array("c").tolist() == [1, 1, 1, 1]
    with pytest.raises(KeyError):
        GraphIndex(made.graph).array("y")


def test_ranks_are_known_of_everything_that_shapes_are_inferred_of(made):
    assert {name: ranks(made.graph)[name] for name in ("input", "w", "y", "output")} == {
        "input": 2,
        "w": 1,
        "y": 2,
        "output": 2,
    }
