import numpy as np
import pytest
from onnx import helper

from tinyml.export.rewrites.float_layers import keep_float_layers
from tinyml.runtime.session import open_session

WEIGHT = np.array([[0.1, 0.2, 0.3, 100.0], [0.3, 0.1, 0.2, -90.0], [0.2, 0.3, 0.1, 80.0]], np.float32)[..., None, None]


def convolution(hand_made, *, quantized_input=True, quantized_weight=False, after="QuantizeLinear"):
    data, weight = "x" if quantized_input else "input", "dequantized" if quantized_weight else "w"
    nodes = [
        helper.make_node("QuantizeLinear", ["input", "s", "z"], ["q"]),
        helper.make_node("DequantizeLinear", ["q", "s", "z"], ["x"]),
        helper.make_node("DequantizeLinear", ["codes", "s"], ["dequantized"]),
        helper.make_node("Conv", [data, weight], ["y"]),
        helper.make_node(after, ["y", "s", "z"] if after == "QuantizeLinear" else ["y"], ["r"]),
        helper.make_node("DequantizeLinear", ["r", "s", "z"], ["output"])
        if after == "QuantizeLinear"
        else helper.make_node("Neg", ["r"], ["output"]),
    ]
    constants = {"s": np.float32(0.05), "z": np.uint8(128), "w": WEIGHT, "codes": WEIGHT.astype(np.int8)}
    return hand_made(nodes, constants, shape=("batch", 4, 3, 3))


def test_a_float_weight_between_quantizers_is_not_rounded_by_the_runtime(hand_made):
    made = convolution(hand_made)
    assert made.outputs_kept_by(keep_float_layers)
    x = np.random.default_rng(1).normal(0, 1.5, made.shape).astype(np.float32)
    x[:, 3] = 0.0  # what is left are the weights that 8 bits for the whole tensor would round to zero
    (found,), (expected,) = (
        open_session(made.model.SerializeToString(), optimized=optimized).run(x).values() for optimized in (True, False)
    )
    assert np.abs(found - expected).max() <= 0.05 * (1 + 1e-5)  # sums in another order: a step on a tie
    assert "Max" in made.operators


@pytest.mark.parametrize(
    "settings",
    [{"quantized_input": False}, {"quantized_weight": True}, {"after": "Relu"}],
    ids=["float input", "integer weight", "float output"],
)
def test_what_the_runtime_does_not_round_stays(hand_made, settings):
    made = convolution(hand_made, **settings)
    keep_float_layers(made.graph)
    assert "Max" not in made.operators
