"""The arithmetic read from a file: against onnxruntime on graphs of every kind, and against loops over integers."""

import numpy as np
import onnx
import pytest
import torch
from onnx import helper, numpy_helper

from tinyml.errors import TinymlError
from tinyml.export.rewrites.index import GraphIndex
from tinyml.graph.onnx_constants import Constants
from tinyml.runtime.session import open_session
from tinyml.verification.integer_arithmetic import IntegerArithmetic, read_arithmetic
from tinyml.verification.quantized_layers import quantized_layers

SMALL = 60  # two such weight codes never saturate


def read(model: onnx.ModelProto) -> IntegerArithmetic:
    index = GraphIndex(model.graph)
    constants = Constants(index.constants, index.producers)
    (layer,) = quantized_layers(model.graph, index, constants)
    return read_arithmetic(layer, index, constants)


def weights(*shape: int, kind: type = np.int8) -> np.ndarray:
    return np.random.default_rng(0).integers(-SMALL, SMALL + 1, shape).astype(kind)


BIAS = np.array([900, -2000, 0, 70], np.int32)
KINDS = [
    pytest.param("Conv", (4, 3, 3, 3), {"pads": [1, 1, 1, 1], "bias": BIAS}, id="3x3 padded with the zero point"),
    pytest.param("Conv", (4, 3, 2, 3), {"pads": [0, 2, 1, 0], "strides": [2, 1]}, id="uneven padding, stride"),
    pytest.param("Conv", (4, 2, 3, 3), {"group": 2, "dilations": [2, 1], "bias": BIAS}, id="groups, dilation"),
    pytest.param("Conv", (4, 1, 3, 3), {"group": 4, "auto_pad": "VALID"}, id="depthwise"),
    pytest.param("Conv", (4, 3, 3), {"pads": [2, 1], "strides": [2]}, id="one dimension"),
    pytest.param("Gemm", (7, 4), {"bias": BIAS}, id="Gemm"),
    pytest.param("Gemm", (4, 7), {"transB": 1, "bias": BIAS}, id="Gemm, transposed"),
    pytest.param("MatMul", (7, 4), {}, id="MatMul"),
    pytest.param("Gemm", (7, 4), {"bias": BIAS.astype(np.float32) / 8}, id="float bias on the codes"),
    pytest.param("Gemm", (7, 4), {"between": ("Relu",)}, id="ReLU"),
    pytest.param("Conv", (4, 3, 1, 1), {"between": ("Clip", "low", "high")}, id="Clip"),
    pytest.param("Gemm", (7, 4), {"between": ("Clip", "", "high")}, id="Clip from above"),
    pytest.param("MatMul", (7, 4), {"activation": np.int8, "zeros": (-20, 3)}, id="signed activations"),
]


@pytest.mark.parametrize("optimized", [True, False], ids=["optimised", "as written"])
@pytest.mark.parametrize(("operator", "shape", "settings"), KINDS)
def test_the_arithmetic_is_that_of_the_runtime(integer_graph, operator, shape, settings, optimized: bool) -> None:
    """Scales are powers of two, so that float32 is exact as well, and every code must be the same."""
    model = integer_graph(operator, weights(*shape), **settings)
    layer = read(model)
    width = model.graph.input[0].type.tensor_type.shape.dim[1].dim_value
    x = (np.random.default_rng(1).standard_normal((30, width, *[8] * (len(shape) - 2))) * 40).astype(np.float32)
    model.graph.output.extend(helper.make_empty_tensor_value_info(name) for name in ("q", "yq"))
    values = open_session(model.SerializeToString(), optimized=optimized).run(x)
    assert np.unique(values["yq"]).size > 20
    np.testing.assert_array_equal(layer.exact(torch.from_numpy(values["q"])).numpy(), values["yq"])


def test_one_scale_may_serve_a_whole_weight(integer_graph) -> None:
    """The default axis of a DequantizeLinear, 1, then means nothing."""
    each, whole = (integer_graph("Conv", weights(4, 3, 1, 1)) for _ in range(2))
    for name, value in (("ws", np.float32(0.25)), ("wz", np.int8(0))):
        stored = next(item for item in whole.graph.initializer if item.name == name)
        stored.CopyFrom(numpy_helper.from_array(np.asarray(value), name))
    del next(node for node in whole.graph.node if node.output[0] == "wf").attribute[:]
    x = torch.arange(255, dtype=torch.uint8)[:75].reshape(1, 3, 5, 5)
    assert torch.equal(read(whole).exact(x), read(each).exact(x))


def test_a_layer_is_read_with_its_names(integer_graph) -> None:
    layer = read(integer_graph("Gemm", weights(7, 4)))
    assert (layer.name, layer.source, layer.answer) == ("layer", "q", "yq")


def test_the_zero_point_of_a_weight_is_taken_off(integer_graph) -> None:
    model = integer_graph("MatMul", np.array([[130], [127]], np.uint8), scales=(1.0, 1.0, 1.0), zeros=(0, 0))
    next(item for item in model.graph.initializer if item.name == "wz").CopyFrom(
        numpy_helper.from_array(np.array([128], np.uint8), "wz")
    )
    layer = read(model)
    assert layer.exact(torch.tensor([[50, 20]], dtype=torch.uint8)).tolist() == [[50 * 2 - 20 * 1]]
    assert not layer.can_saturate


def saturated_dot(x: list[int], w: list[int]) -> int:
    pairs = [x[k] * w[k] + x[k + 1] * w[k + 1] for k in range(0, len(x), 2)]
    return sum(max(-(2**15), min(2**15 - 1, pair)) for pair in pairs)


@pytest.mark.parametrize(("kind", "offset"), [(torch.uint8, 0), (torch.int8, 128)], ids=["uint8", "int8"])
def test_saturation_holds_sums_of_two_products_in_16_bits(integer_graph, kind: torch.dtype, offset: int) -> None:
    """With zero points 0 of the unsigned codes and steps of 1024 the code is the sum in 1024s."""
    w = np.array([127, 127, -128, -128, 127, 1], np.int8)
    unsigned = [255, 255, 3, 4, 200, 90]
    numpy_kind = np.uint8 if offset == 0 else np.int8
    zeros = (-offset, -offset)
    model = integer_graph("MatMul", w[:, None], scales=(1.0, 1.0, 1024.0), zeros=zeros, activation=numpy_kind)
    x = torch.tensor([[code - offset for code in unsigned]], dtype=kind)
    layer = read(model)
    sums = [saturated_dot(unsigned, w.tolist()), sum(a * b for a, b in zip(unsigned, w.tolist(), strict=True))]
    assert [int(layer.saturated(x)) + offset, int(layer.exact(x)) + offset] == [round(total / 1024) for total in sums]
    assert sums[0] != sums[1]


def test_a_convolution_saturates_over_its_channels_first(integer_graph) -> None:
    """Two channels at one place are neighbours, two places of one channel are not (but for three channels)."""
    side_by_side, apart = np.zeros((2, 1, 2, 1, 2), np.int8)
    side_by_side[0, :, 0, 0], apart[0, 0, 0, :] = 127, 127
    x = torch.full((1, 2, 1, 2), 255, dtype=torch.uint8)
    for codes, differs in ((side_by_side, True), (apart, False)):
        layer = read(integer_graph("Conv", codes, scales=(1.0, 1.0, 512.0), zeros=(0, 0)))
        assert (int(layer.saturated(x)) != int(layer.exact(x))) == differs


def test_only_kernels_with_16_bits_can_saturate(integer_graph) -> None:
    shapes = {(4, 3, 1, 1): 1, (4, 1, 1, 1): 4, (4, 2, 1, 1): 2, (4, 3, 1, 1, 1): 1}
    found = [read(integer_graph("Conv", weights(*shape), group=group)).can_saturate for shape, group in shapes.items()]
    assert found == [True, False, True, False]


REASONS = [
    pytest.param({"alpha": 2.0}, "scales or transposes its input", id="Gemm with a factor"),
    pytest.param({"transA": 1}, "scales or transposes its input", id="Gemm, input transposed"),
    pytest.param(
        {"bias": np.array([1e9, 0, 0, 0], np.float32)},
        "the bias reaches 8000000000, which does not fit 32 bits",
        id="wide bias",
    ),
]


@pytest.mark.parametrize(("settings", "reason"), REASONS)
def test_what_is_no_plain_integer_layer_is_refused_with_its_reason(integer_graph, settings, reason: str) -> None:
    with pytest.raises(TinymlError, match=reason):
        read(integer_graph("Gemm", weights(7, 4), **settings))


def test_automatic_padding_is_refused(integer_graph) -> None:
    with pytest.raises(TinymlError, match="padded automatically"):
        read(integer_graph("Conv", weights(4, 3, 3, 3), auto_pad="SAME_UPPER"))


def test_a_scale_for_each_input_channel_is_refused(integer_graph) -> None:
    model = integer_graph("Conv", weights(3, 3, 3, 3))
    next(node for node in model.graph.node if node.output[0] == "wf").attribute[0].i = 1
    with pytest.raises(TinymlError, match="no scale of its own for each output channel"):
        read(model)


def test_an_answer_that_stays_in_float_is_refused(quantized_graph) -> None:
    with pytest.raises(TinymlError, match="its answer stays in float"):
        read(quantized_graph("MatMul", weights(7, 4)))


def test_codes_of_16_bits_are_refused_because_no_kernel_sums_them_in_integers(integer_graph) -> None:
    with pytest.raises(TinymlError, match="its input or answer is uint16, which is computed in float"):
        read(integer_graph("MatMul", weights(7, 4), activation=np.uint16))
