from collections.abc import Callable

import numpy as np
import pytest
from onnx import NodeProto, helper

from tinyml.export.rewrites.integer_pools import convolve_integer_pools

CONSTANTS = {"scale": np.float32(0.05), "zero": np.uint8(100), "finer": np.float32(0.02)}


def pooled(**settings: object) -> list[NodeProto]:
    """A pooling of integers."""
    return [
        helper.make_node("QuantizeLinear", ["input", "scale", "zero"], ["q"]),
        helper.make_node("DequantizeLinear", ["q", "scale", "zero"], ["x"]),
        helper.make_node(
            "AveragePool", ["x"], ["y"], "pool", **({"kernel_shape": [4, 2], "strides": [4, 2]} | settings)
        ),  # type: ignore[arg-type]  # onnx types attributes as names
        helper.make_node("QuantizeLinear", ["y", "finer", "zero"], ["p"]),
        helper.make_node("DequantizeLinear", ["p", "finer", "zero"], ["output"]),
    ]


@pytest.mark.parametrize("strides", [[4, 2], [2, 1]], ids=["apart", "overlapping"])
def test_the_means_are_kept_within_a_step(hand_made: Callable, strides: list[int]) -> None:
    made = hand_made(pooled(strides=strides), CONSTANTS, shape=("batch", 3, 8, 8))
    (before,) = made.run()
    convolve_integer_pools(made.graph)
    (after,) = made.run()
    assert "AveragePool" not in made.operators
    assert np.ptp(before) > 0.2
    np.testing.assert_allclose(after, before, atol=0.02 + 1e-6)


@pytest.mark.parametrize(
    "settings",
    [{"pads": [1, 1, 1, 1]}, {"ceil_mode": 1}, {"dilations": [2, 2]}, {"auto_pad": "SAME_UPPER"}],
    ids=lambda settings: next(iter(settings)),
)
def test_windows_over_the_edge_or_with_holes_stay(hand_made: Callable, settings: dict[str, object]) -> None:
    made = hand_made(pooled(**settings), CONSTANTS, shape=("batch", 3, 9, 9))
    convolve_integer_pools(made.graph)
    assert "AveragePool" in made.operators


def test_pooling_of_floats_stays(hand_made: Callable) -> None:
    nodes = [helper.make_node("AveragePool", ["input"], ["output"], kernel_shape=[2, 2])]
    made = hand_made(nodes, shape=("batch", 3, 8, 8))
    assert made.outputs_kept_by(convolve_integer_pools)
    assert made.operators == ["AveragePool"]


def test_means_that_someone_reads_unrounded_stay(hand_made: Callable) -> None:
    made = hand_made(pooled(), CONSTANTS, shape=("batch", 3, 8, 8), outputs=("output", "y"))
    assert made.outputs_kept_by(convolve_integer_pools)
    assert made.operators.count("AveragePool") == 1
