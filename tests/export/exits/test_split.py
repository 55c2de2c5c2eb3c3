"""Stages: together the network, each with what it needs and nothing of the others."""

import numpy as np
import onnx
import pytest
from exit_models import FACTORIES, SHAPE, captured, graph_with_exits, images, outputs, tiny
from onnx import TensorProto, helper

from tinyml.errors import TinymlError
from tinyml.export.exits import split_stages
from tinyml.runtime.session import open_stage

KINDS = pytest.mark.parametrize("int8", [False, True], ids=["float", "int8"])
X = images(5)
WEIGHT = np.ones((4, 3), np.float32)


def run_stages(stages: tuple[onnx.ModelProto, ...], x: np.ndarray) -> list[np.ndarray]:
    """The logits of every stage, one after the other."""
    known, found = {"input": x}, []
    for stage in stages:
        known |= open_stage(stage.SerializeToString()).run(known)
        found.append(known["output"])
    return found


def head(value: str, number: int) -> list[onnx.NodeProto]:
    return [
        helper.make_node("GlobalAveragePool", [value], [f"pool{number}"]),
        helper.make_node("Flatten", [f"pool{number}"], [f"flat{number}"]),
        helper.make_node("MatMul", [f"flat{number}", "weight"], [f"output_{number}"]),
    ]


def operators(stage: onnx.ModelProto) -> list[str]:
    return [node.op_type for node in stage.graph.node]


def names(values: object) -> list[str]:
    return [value.name for value in values]  # type: ignore[attr-defined]  # protobuf's containers are untyped


@KINDS
def test_the_stages_answer_as_the_network(int8: bool) -> None:
    wanted = outputs(tiny(int8=int8), X)
    for found, expected in zip(run_stages(split_stages(tiny(int8=int8)), X), wanted, strict=True):
        np.testing.assert_allclose(found, expected, atol=1e-5 * np.ptp(expected))


@KINDS
def test_every_layer_is_in_one_stage(int8: bool) -> None:
    layers = [[node.name for node in stage.graph.node if node.name[:5] in ("layer", "head0", "head1", "head2")]
              for stage in split_stages(tiny(int8=int8))]  # fmt: skip
    assert layers == [["layer0", "head0"], ["layer1", "head1"], ["layer2", "head2"]]


@pytest.mark.parametrize(
    ("int8", "tensor", "kind"),
    [(False, "sum0", TensorProto.FLOAT), (True, "sum0_codes_channels_last", TensorProto.UINT8)],
    ids=["float", "int8"],
)
def test_one_tensor_crosses_and_it_is_the_integers(int8: bool, tensor: str, kind: int) -> None:
    stages = split_stages(tiny(int8=int8))
    assert names(stages[0].graph.output) == ["output", tensor]
    assert names(stages[1].graph.input) == [tensor]
    assert stages[1].graph.input[0].type.tensor_type.elem_type == kind


def test_the_reader_of_integers_has_its_own_scale_and_zero_point() -> None:
    _, second, _ = split_stages(tiny(int8=True))
    reader = next(node for node in second.graph.node if "sum0_codes" in node.input)
    assert reader.op_type == "DequantizeLinear"
    assert set(reader.input[1:]) == {"scale1", "zero"} <= set(names(second.graph.initializer))


def test_constants_are_stored_where_they_are_read_and_nowhere_else() -> None:
    stored = [set(names(stage.graph.initializer)) for stage in split_stages(tiny())]
    assert stored[1] == {"layer1.weight", "weight_scale", "head1.weight"}
    assert stored[0] & stored[1] & stored[2] == {"weight_scale"}


def test_a_decoder_of_constants_is_copied_to_both_its_readers() -> None:
    nodes = [helper.make_node("Neg", ["stored"], ["weight"]), helper.make_node("Relu", ["input"], ["a"]), *head("a", 0),
             helper.make_node("Sin", ["a"], ["b"]), *head("b", 1)]  # fmt: skip
    stages = split_stages(graph_with_exits(nodes, {"stored": WEIGHT}, exits=2))
    assert [operators(stage).count("Neg") for stage in stages] == [1, 1]
    assert [names(stage.graph.initializer) for stage in stages] == [["stored"], ["stored"]]


def test_a_quantizer_stands_with_the_layer_before_it() -> None:
    nodes = [helper.make_node("Relu", ["input"], ["a"]), *head("a", 0),  # this head reads what is not quantized
             helper.make_node("QuantizeLinear", ["a", "scale", "zero"], ["codes"]),
             helper.make_node("DequantizeLinear", ["codes", "scale", "zero"], ["read"]),
             helper.make_node("Sin", ["read"], ["b"]), *head("b", 1)]  # fmt: skip
    constants = {"weight": WEIGHT, "scale": np.float32(0.1), "zero": np.uint8(0)}
    first, second = split_stages(graph_with_exits(nodes, constants, exits=2))
    assert "QuantizeLinear" in operators(first)
    assert operators(second)[:3] == ["Transpose", "DequantizeLinear", "Sin"]


def test_several_tensors_may_cross_and_one_may_skip_a_stage() -> None:
    nodes = [helper.make_node("Relu", ["input"], ["a"]), *head("a", 0), helper.make_node("Sin", ["a"], ["b"]),
             *head("b", 1), helper.make_node("Add", ["a", "b"], ["c"]), helper.make_node("Add", ["c", "input"], ["d"]),
             *head("d", 2)]  # fmt: skip
    model = graph_with_exits(nodes, {"weight": WEIGHT}, exits=3)
    stages = split_stages(model)
    assert names(stages[2].graph.input) == ["input", "a", "b"]
    np.testing.assert_allclose(run_stages(stages, X)[2], outputs(model, X)[2], rtol=1e-6)


def test_logits_that_are_read_on_cross_too() -> None:
    nodes = [*head("input", 0), helper.make_node("Neg", ["output_0"], ["output_1"])]
    stages = split_stages(graph_with_exits(nodes, {"weight": WEIGHT}, exits=2))
    assert names(stages[0].graph.output) == ["output", "output_0"]
    first, second = run_stages(stages, X)
    np.testing.assert_array_equal(second, -first)


def test_the_size_of_the_batch_is_read_from_what_crosses() -> None:
    nodes = [helper.make_node("Relu", ["input"], ["a"]), *head("a", 0), helper.make_node("Sin", ["a"], ["b"]),
             helper.make_node("Shape", ["input"], ["size"], start=0, end=1),
             helper.make_node("Concat", ["size", "rest"], ["shape"], axis=0),
             helper.make_node("Reshape", ["b", "shape"], ["c"]), *head("c", 1)]  # fmt: skip
    model = graph_with_exits(nodes, {"weight": WEIGHT, "rest": np.array([4, 4, 16])}, exits=2)
    stages = split_stages(model)
    assert names(stages[1].graph.input) == ["a"]
    np.testing.assert_allclose(run_stages(stages, X)[1], outputs(model, X)[1], rtol=1e-6)


def test_the_callers_model_is_untouched() -> None:
    model = tiny(int8=True)
    split_stages(model)
    assert model == tiny(int8=True)


def test_a_network_without_exits_is_refused() -> None:
    model = graph_with_exits(head("input", 0), {"weight": WEIGHT}, exits=1)
    with pytest.raises(TinymlError, match=r"outputs output_0, output_1, \.\.\.; this one has output_0"):
        split_stages(model)


def test_an_exit_on_the_way_to_an_earlier_one_is_refused() -> None:
    nodes = [*head("input", 1), helper.make_node("Neg", ["output_1"], ["output_0"])]
    with pytest.raises(TinymlError, match="'output_1' is computed on the way to an earlier exit"):
        split_stages(graph_with_exits(nodes, {"weight": WEIGHT}, exits=2))


def test_what_crosses_must_have_the_batch_in_front() -> None:
    nodes = [helper.make_node("Transpose", ["input"], ["a"], perm=[1, 0, 2, 3]),
             helper.make_node("Transpose", ["a"], ["b"], perm=[1, 0, 2, 3]), *head("b", 0),
             helper.make_node("Sin", ["a"], ["c"]), helper.make_node("Transpose", ["c"], ["d"], perm=[1, 0, 2, 3]),
             *head("d", 1)]  # fmt: skip
    with pytest.raises(TinymlError, match=r"cannot be cut at tensor 'a'.*Choose another exit"):
        split_stages(graph_with_exits(nodes, {"weight": WEIGHT}, exits=2))


@pytest.mark.slow
@KINDS
@pytest.mark.parametrize("name", FACTORIES)
def test_captured_networks_answer_by_stages_as_in_one(name: str, int8: bool) -> None:
    model, x = captured(name, int8=int8), images(3, SHAPE)
    for found, expected in zip(run_stages(split_stages(model), x), outputs(model, x), strict=True):
        np.testing.assert_allclose(found, expected, atol=(0.05 if int8 else 1e-5) * np.ptp(expected))
