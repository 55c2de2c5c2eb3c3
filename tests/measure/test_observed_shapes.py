import numpy as np
from onnx import helper

from tinyml.measure.macs import macs
from tinyml.measure.network import read_network


def by_way_of_nonzero(save_graph, operator="NonZero"):
    """A shape that only values tell: as many columns as the constant-like input has entries that are not zero."""
    return save_graph(
        [
            helper.make_node("Cos", ["input"], ["ones"]),  # of zeros: 1, and so every entry counts
            helper.make_node(operator, ["ones"], ["places"]),
            helper.make_node("Cast", ["places"], ["p"], to=1),
            helper.make_node("MatMul", ["p", "w"], ["output"]),
        ],
        inputs={"input": ["batch", 5]},
        outputs={"output": ["rows", 3]},
        constants={"w": np.ones((5, 3), np.float32)},
    )


def test_a_shape_that_inference_cannot_find_is_seen_by_running(save_graph):
    network = read_network(by_way_of_nonzero(save_graph))
    assert network.types["places"].shape == (2, 5)
    assert (macs(network).value, macs(network).not_counted) == (2 * 3 * 5, ())


def test_what_does_not_run_stays_unknown_and_is_listed(save_graph):
    network = read_network(by_way_of_nonzero(save_graph, operator="Mystery"))
    assert "places" not in network.types
    assert macs(network).not_counted == ("MatMul 'output' (shape unknown)", "Mystery")
