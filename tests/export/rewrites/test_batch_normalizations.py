import numpy as np
import onnx
import pytest
from onnx import helper

from tinyml.export.rewrites.barriers import remove_barriers
from tinyml.export.rewrites.batch_normalizations import scale_stored_weights
from tinyml.export.translations import BARRIER, BARRIER_DOMAIN

GENERATOR = np.random.default_rng(0)
VECTORS = {name: GENERATOR.uniform(0.5, 2, 3).astype(np.float32) for name in ("gamma", "beta", "mean", "variance")}
WEIGHT = GENERATOR.standard_normal((3, 2, 3, 3)).astype(np.float32)
STORED = helper.make_node(BARRIER, ["conv.weight"], ["stored"], domain=BARRIER_DOMAIN)
NORM = helper.make_node("BatchNormalization", ["y", *VECTORS], ["output"], epsilon=0.01)


@pytest.fixture
def normalized(hand_made):
    def make(*nodes: onnx.NodeProto, outputs: tuple[str, ...] = ("output",), **constants: np.ndarray):
        constants |= {"conv.weight": WEIGHT, **VECTORS}
        return hand_made([*nodes], constants, shape=("batch", 2, 8, 8), outputs=outputs)

    return make


def rewrite(graph: onnx.GraphProto) -> None:
    scale_stored_weights(graph)
    remove_barriers(graph)


def convolution(*inputs: str) -> onnx.NodeProto:
    return helper.make_node("Conv", ["input", *inputs], ["y"])


@pytest.mark.parametrize("biased", [False, True])
def test_the_factor_goes_before_the_convolution_and_the_rest_into_its_bias(normalized, biased: bool):
    bias = {"conv.bias": np.float32([1, -2, 3])} if biased else {}
    made = normalized(STORED, convolution("stored", *bias), NORM, **bias)
    plain = normalized(convolution("conv.weight", *bias), NORM, **bias)
    rewrite(made.graph)
    assert made.operators == ["Mul", "Conv"]
    # Both sum the same 18 products in float32, scaled before or after: some units in the last place of the largest.
    np.testing.assert_allclose(made.run()[0], plain.run()[0], atol=2e-6 * np.abs(plain.run()[0]).max())


def test_the_stored_weight_keeps_its_values(normalized):
    made = normalized(STORED, convolution("stored"), NORM)
    rewrite(made.graph)
    (kept,) = [item for item in made.graph.initializer if item.name == "conv.weight"]
    assert kept.raw_data == WEIGHT.tobytes()
    assert list(made.graph.node[0].input) == ["conv.weight", "conv.weight_factor"]


def test_a_factor_of_a_pass_stays_before_the_one_of_the_normalization(normalized):
    scale = helper.make_node("Mul", ["stored", "conv.weight_factor"], ["scaled"])
    made = normalized(STORED, scale, convolution("scaled"), NORM, **{"conv.weight_factor": np.ones((3, 1, 1, 1), "f4")})
    rewrite(made.graph)
    assert made.operators == ["Mul", "Mul", "Conv"]
    assert list(made.graph.node[1].input) == ["scaled", "conv.weight_factor_2"]


def test_a_normalization_of_a_weight_without_a_barrier_stays(normalized):
    made = normalized(convolution("conv.weight"), NORM)
    assert made.outputs_kept_by(rewrite)
    assert made.operators == ["Conv", "BatchNormalization"]


def test_a_normalization_stays_where_others_read_the_convolution(normalized):
    made = normalized(STORED, convolution("stored"), NORM, outputs=("output", "y"))
    rewrite(made.graph)
    assert made.operators == ["Conv", "BatchNormalization"]
