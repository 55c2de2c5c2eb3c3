"""Weights read back out of ONNX files built by hand."""

from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from tinyml.analysis.onnx_weights import weights_of
from tinyml.errors import CheckpointError
from tinyml.export.storage import pack_weights

CODES = np.array([[[[2]]], [[[-4]]]], dtype=np.int8)  # (2 outputs, 1 input, 1, 1)


def save(path: Path, nodes: list[onnx.NodeProto], constants: dict[str, np.ndarray], opset: int = 21) -> Path:
    graph = helper.make_graph(
        nodes,
        "net",
        [helper.make_tensor_value_info("input", TensorProto.FLOAT, None)],
        [helper.make_tensor_value_info("output", TensorProto.FLOAT, None)],
        [numpy_helper.from_array(array, name) for name, array in constants.items()],
    )
    onnx.save(
        helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset), helper.make_opsetid("somewhere", 1)]),
        path,
    )
    return path


def quantized_convolution(path: Path, *, zero_point: list[int], opset: int = 21) -> Path:
    nodes = [
        helper.make_node("DequantizeLinear", ["conv1.weight_quantized", "s", "z"], ["w"], axis=0),
        helper.make_node("Conv", ["input", "w"], ["output"]),
    ]
    constants = {
        "conv1.weight_quantized": CODES,
        "s": np.array([0.5, 0.25], dtype=np.float32),
        "z": np.array(zero_point, dtype=np.int8),
    }
    return save(path, nodes, constants, opset)


def test_a_float_initializer_is_returned_as_it_is(tmp_path: Path) -> None:
    weight = np.arange(6, dtype=np.float32).reshape(2, 3)
    path = save(
        tmp_path / "m.onnx", [helper.make_node("MatMul", ["input", "fc.weight"], ["output"])], {"fc.weight": weight}
    )
    layer = weights_of(path)["fc"]
    assert layer.operator == "MatMul"
    np.testing.assert_array_equal(layer.values, weight)


@pytest.mark.parametrize("opset", [13, 21])
@pytest.mark.parametrize(
    ("zero_point", "expected"),
    [
        ([0, 0], [1.0, -1.0]),
        ([1, -8], [0.5, 1.0]),
    ],  # (code - zero point) x scale: 2 x 0.5, -4 x 0.25, 1 x 0.5, 4 x 0.25
    ids=["symmetric", "asymmetric"],
)
def test_int8_codes_are_dequantized_per_channel(
    tmp_path: Path, zero_point: list[int], expected: list[float], opset: int
) -> None:
    layer = weights_of(quantized_convolution(tmp_path / "m.onnx", zero_point=zero_point, opset=opset))["conv1"]
    assert layer.values.ravel().tolist() == expected
    assert layer.stored.dtype == np.int8


def test_a_codebook_is_looked_up_and_its_indices_are_what_is_stored(tmp_path: Path) -> None:
    nodes = [
        helper.make_node("Cast", ["fc.weight_indices"], ["indices"], to=TensorProto.INT32),
        helper.make_node("Gather", ["fc.weight_codebook", "indices"], ["w"]),
        helper.make_node("Gemm", ["input", "w"], ["output"], transB=1),
    ]
    constants = {
        "fc.weight_indices": np.array([[0, 1, 1]], dtype=np.uint8),
        "fc.weight_codebook": np.array([-0.5, 2.0], dtype=np.float32),
    }
    layer = weights_of(save(tmp_path / "m.onnx", nodes, constants))["fc"]
    assert layer.values.tolist() == [[-0.5, 2.0, 2.0]]
    assert layer.stored.dtype == np.uint8


def test_half_precision_weights_become_float32_values(tmp_path: Path) -> None:
    half = {"fc.weight": np.array([[1.5]], dtype=np.float16)}
    layer = weights_of(save(tmp_path / "m.onnx", [helper.make_node("Gemm", ["input", "fc.weight"], ["output"])], half))[
        "fc"
    ]
    assert (layer.values.dtype, layer.stored.dtype) == (np.float32, np.float16)


@pytest.mark.parametrize(
    ("initializer", "node", "layer"),
    [
        ("layer1.0.conv1.weight", "", "layer1.0.conv1"),
        ("layer1.0.conv1.weight_quantized", "", "layer1.0.conv1"),
        ("conv.parametrizations.weight.original", "", "conv"),
        ("onnx::Conv_12", "/layer1/conv1/Conv", "layer1/conv1"),
        ("val_3", "node_linear", "linear"),
        ("val_3", "", "val_3"),
        ("table", "", "table"),
    ],
    ids=["float", "quantized", "parametrized", "old exporter", "new exporter", "no name at all", "no suffix"],
)
def test_layers_are_named_after_their_module(tmp_path: Path, initializer: str, node: str, layer: str) -> None:
    nodes = [helper.make_node("Conv", ["input", initializer], ["output"], name=node)]
    constants = {initializer: np.ones((1, 1, 1, 1), dtype=np.float32)}
    assert list(weights_of(save(tmp_path / "m.onnx", nodes, constants))) == [layer]


def test_layers_come_in_the_order_of_the_graph_and_shared_weights_once(tmp_path: Path) -> None:
    nodes = [
        helper.make_node("MatMul", ["input", "b.weight"], ["h"]),
        helper.make_node("MatMul", ["h", "a.weight"], ["i"]),
        helper.make_node("MatMul", ["i", "b.weight"], ["output"]),
    ]
    constants = {name: np.eye(2, dtype=np.float32) for name in ("a.weight", "b.weight")}
    layers = weights_of(save(tmp_path / "m.onnx", nodes, constants))
    assert {name: layer.nodes for name, layer in layers.items()} == {"b": ("h", "output"), "a": ("i",)}
    assert list(layers) == ["b", "a"]


def test_two_layers_of_one_name_are_numbered(tmp_path: Path) -> None:
    nodes = [
        helper.make_node("MatMul", ["input", "fc.weight"], ["h"]),
        helper.make_node("MatMul", ["h", "fc.weight_quantized"], ["output"]),
    ]
    constants = {name: np.eye(2, dtype=np.float32) for name in ("fc.weight", "fc.weight_quantized")}
    assert list(weights_of(save(tmp_path / "m.onnx", nodes, constants))) == ["fc", "fc (2)"]


def test_a_product_of_two_activations_is_no_layer(tmp_path: Path) -> None:
    assert weights_of(save(tmp_path / "m.onnx", [helper.make_node("MatMul", ["input", "input"], ["output"])], {})) == {}


def test_branches_of_an_if_are_entered(tmp_path: Path) -> None:
    branch = helper.make_graph(
        [helper.make_node("MatMul", ["input", "head.weight"], ["y"])],
        "branch",
        [],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, None)],
        [numpy_helper.from_array(np.eye(2, dtype=np.float32), "head.weight")],
    )
    node = helper.make_node("If", ["confident"], ["output"], then_branch=branch, else_branch=branch)
    assert "head" in weights_of(save(tmp_path / "m.onnx", [node], {"confident": np.array(True)}))


def test_an_unknown_operator_on_constants_is_passed_over(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    nodes = [
        helper.make_node("Unpack", ["fc.weight"], ["w"], domain="somewhere"),
        helper.make_node("MatMul", ["input", "w"], ["output"]),
    ]
    path = save(tmp_path / "m.onnx", nodes, {"fc.weight": np.eye(2, dtype=np.float32)})
    assert weights_of(path) == {}
    assert "Unpack" in caplog.text


@pytest.mark.parametrize("content", [None, b"<html>not a model</html>"], ids=["missing", "a web page"])
def test_a_file_that_is_no_model_is_refused(tmp_path: Path, content: bytes | None) -> None:
    path = tmp_path / "m.onnx"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(CheckpointError, match=r"m\.onnx"):
        weights_of(path)


def test_a_weight_without_its_zeros_is_read_with_them(tmp_path: Path) -> None:
    weight = np.zeros((64, 64), np.float32)
    weight[0] = np.arange(1, 65)
    nodes = [helper.make_node("MatMul", ["input", "fc.weight"], ["output"])]
    model = onnx.load(save(tmp_path / "m.onnx", nodes, {"fc.weight": weight}))
    pack_weights(model)
    onnx.save(model, tmp_path / "m.onnx")
    (layer,) = weights_of(tmp_path / "m.onnx").values()
    assert (layer.name, layer.stored.dtype, len(model.graph.node) > 1) == ("fc", np.float32, True)
    np.testing.assert_array_equal(layer.values, weight)


@pytest.mark.parametrize(
    ("weight", "form"),
    [
        (np.arange(4096, dtype=np.float32), "float32"),
        (np.resize(np.float32([1, 2, 5, 9]), 4096), "2-bit codebook"),
        (np.resize(np.arange(-7, 8, dtype=np.int8), 4096), "4-bit integers"),
        (np.resize(np.int8([-100, 1, 3, 90]), 4096), "2-bit codebook of int8"),
        (np.append(np.arange(1, 513), np.zeros(3584)).astype(np.float32), "bit mask + float32"),
        (np.append(np.resize(np.float32([1, 2, 5, 9]), 400), np.zeros(3696, np.float32)), "bit mask + 2-bit codebook"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_the_form_in_which_weights_are_stored_is_said(tmp_path: Path, weight: np.ndarray, form: str) -> None:
    integers = weight.dtype == np.int8
    nodes = [helper.make_node("DequantizeLinear", ["fc.weight", "s"], ["d"])] if integers else []
    nodes += [helper.make_node("MatMul", ["input", "d" if integers else "fc.weight"], ["output"])]
    constants = {"fc.weight": weight.reshape(64, 64)} | ({"s": np.float32(0.5)} if integers else {})
    model = onnx.load(save(tmp_path / "m.onnx", nodes, constants))
    pack_weights(model)
    onnx.save(model, tmp_path / "m.onnx")
    layer = weights_of(tmp_path / "m.onnx")["fc"]
    assert layer.form == form
    assert layer.size_bytes < weight.nbytes or not layer.packed


def test_non_zeros_in_half_precision_are_said(tmp_path: Path) -> None:
    nodes = [helper.make_node("MatMul", ["input", "fc.weight"], ["output"])]
    weight = np.append(np.arange(1, 513), np.zeros(3584)).astype(np.float32).reshape(64, 64)
    model = onnx.load(save(tmp_path / "m.onnx", nodes, {"fc.weight": weight}))
    pack_weights(model, "float16")
    onnx.save(model, tmp_path / "m.onnx")
    assert weights_of(tmp_path / "m.onnx")["fc"].form == "bit mask + float16"
