"""The static bound |w_i| + |w_j| <= 128, on graphs written by hand."""

import numpy as np
import onnx
import pytest

from tinyml.export.storage import pack_weights
from tinyml.verification.portability import is_quantized, pair_sums, portability_check

# (C_out, C_in): the two largest magnitudes of the first channel are a and b, of the second 3 and 2.
CHANNELS = np.array([[0, -1, 0, 1], [3, 2, 0, 1]])


def codes(a: int, b: int) -> np.ndarray:
    values = CHANNELS.copy()
    values[0, 0], values[0, 2] = a, b
    return values


LAYERS = [
    pytest.param("Conv", {}, id="convolution"),
    pytest.param("Gemm", {"transB": 1}, id="Gemm, weights (C_out, C_in)"),
    pytest.param("Gemm", {"transB": 0}, id="Gemm, weights (C_in, C_out)"),
    pytest.param("MatMul", {}, id="MatMul"),
]


def model(quantized_graph, operator: str, attributes: dict[str, int], values: np.ndarray, **options) -> onnx.ModelProto:
    if operator == "Conv":
        shaped = values[:, :, None, None]
    else:
        shaped = values if attributes.get("transB") else values.T
    return quantized_graph(operator, shaped, **attributes, **options)


@pytest.mark.parametrize(("operator", "attributes"), LAYERS)
@pytest.mark.parametrize(
    ("pair", "outcome"),
    [
        pytest.param((64, 64), "passed", id="64 + 64"),
        pytest.param((-64, 64), "passed", id="minus 64 + 64"),
        pytest.param((127, 1), "passed", id="127 + 1"),
        pytest.param((65, 64), "failed", id="65 + 64"),
        pytest.param((-128, 1), "failed", id="minus 128 + 1"),
        pytest.param((127, -127), "failed", id="127 and minus 127"),
    ],
)
def test_the_bound_of_128_holds_within_an_output_channel(quantized_graph, operator, attributes, pair, outcome) -> None:
    graph = model(quantized_graph, operator, attributes, codes(*pair)).graph
    assert [found.largest for found in pair_sums(graph)] == [abs(pair[0]) + abs(pair[1])]
    assert portability_check(graph, demanded=True).outcome == outcome


@pytest.mark.parametrize(("operator", "attributes"), LAYERS)
def test_large_weights_in_different_channels_are_no_pair(quantized_graph, operator, attributes) -> None:
    values = np.array([[100, 0, 0], [100, 0, 0]])
    assert pair_sums(model(quantized_graph, operator, attributes, values).graph)[0].largest == 100


def test_a_file_beyond_the_bound_is_noted_where_the_target_does_not_demand_it(quantized_graph) -> None:
    check = portability_check(model(quantized_graph, "Conv", {}, codes(127, 127)).graph, demanded=False)
    assert check.outcome == "noted"
    assert check.explanation.startswith("Not portable: refused as portable to every CPU, because on x86 without VNNI")
    assert "up to 254 (w)" in check.value


def test_a_file_beyond_the_bound_that_is_demanded_is_refused(quantized_graph) -> None:
    check = portability_check(model(quantized_graph, "Conv", {}, codes(127, 127)).graph, demanded=True)
    assert (check.outcome, check.explanation.startswith("Refused as portable: ")) == ("failed", True)


def test_the_worst_layer_is_named(quantized_graph) -> None:
    small, large = (model(quantized_graph, "Conv", {}, codes(*pair)).graph for pair in ((1, 1), (127, 127)))
    merged = onnx.compose.merge_models(
        onnx.compose.add_prefix(onnx.helper.make_model(small, ir_version=10), "first."),
        onnx.compose.add_prefix(onnx.helper.make_model(large, ir_version=10), "second."),
        io_map=[],
    ).graph
    assert "(second.w)" in portability_check(merged, demanded=True).value


def test_a_layer_of_one_weight_has_no_partner(quantized_graph) -> None:
    assert pair_sums(quantized_graph("Conv", np.array([[[[127]]]])).graph)[0].largest == 127


def test_float_weights_and_float_activations_have_no_bound(quantized_graph, identity) -> None:
    assert not is_quantized(identity().graph)
    weight_only = model(quantized_graph, "Conv", {}, codes(127, 127))
    weight_only.graph.node[3].input[0] = "input"
    assert not is_quantized(weight_only.graph)


def test_signed_activations_count_too(quantized_graph) -> None:
    assert is_quantized(model(quantized_graph, "Conv", {}, codes(1, 1), activation=np.int8).graph)


def test_weights_that_are_stored_without_their_zeros_are_seen(quantized_graph) -> None:
    values = np.zeros((64, 64), np.int8)
    values[0, :2] = 100
    found = quantized_graph("MatMul", values.T)
    pack_weights(found)
    assert "w" not in [item.name for item in found.graph.initializer]
    assert [pair.largest for pair in pair_sums(found.graph)] == [200]


def test_layers_inside_the_branches_of_an_if_are_bounded_too(quantized_graph) -> None:
    inner = quantized_graph("MatMul", np.array([[100], [100]])).graph
    branch = onnx.helper.make_graph(inner.node, "branch", [], inner.output, inner.initializer)
    outer = onnx.helper.make_graph(
        [onnx.helper.make_node("If", ["condition"], ["output"], then_branch=branch, else_branch=branch)],
        "graph",
        [onnx.helper.make_tensor_value_info("condition", onnx.TensorProto.BOOL, [])],
        list(inner.output),
    )
    assert [pair.largest for pair in pair_sums(outer)] == [200, 200]
