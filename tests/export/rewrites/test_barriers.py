import numpy as np
from onnx import helper

from tinyml.export.rewrites.barriers import remove_barriers
from tinyml.export.translations import BARRIER, BARRIER_DOMAIN


def test_readers_read_the_weight_before_the_barrier(hand_made):
    nodes = [
        helper.make_node(BARRIER, ["w"], ["stored"], domain=BARRIER_DOMAIN),
        helper.make_node("MatMul", ["input", "stored"], ["y"]),
        helper.make_node("MatMul", ["y", "stored"], ["output"]),
    ]
    made = hand_made(nodes, {"w": np.eye(4, dtype=np.float32)})
    remove_barriers(made.graph)
    assert [list(node.input) for node in made.graph.node] == [["input", "w"], ["y", "w"]]
    assert made.run()[0].shape == (2, 4)


def test_a_graph_without_barriers_stays(hand_made):
    made = hand_made([helper.make_node("Relu", ["input"], ["output"])])
    assert made.outputs_kept_by(remove_barriers)
    assert made.operators == ["Relu"]
