"""Sparse weights stored as bit mask and non-zeros: the same values, in fewer bytes, gone once a session has loaded."""

from collections import Counter
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
import user_models
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import TensorProto, helper, numpy_helper
from onnx.reference import ReferenceEvaluator
from random_task import quantized, trained
from torch import nn

from tinyml.export import to_onnx
from tinyml.export.storage import leave_out_zeros
from tinyml.models import MODELS
from tinyml.runtime.session import open_session
from tinyml.target import load_target

AVX2 = load_target("x86-avx2")
ONE = np.ones(1, np.float32)
LEVELS = onnxruntime.GraphOptimizationLevel


def sparse(shape: tuple[int, ...], kind: type = np.float32, *, zeros: float = 0.7) -> np.ndarray:
    """Numbers from -1 to 1 (integers: -7 to 7), that share of them zero."""
    generator = np.random.default_rng(0)
    values = generator.uniform(-1, 1, shape) if np.dtype(kind).kind == "f" else generator.integers(1, 8, shape)
    return np.where(generator.random(shape) < zeros, 0, values).astype(kind)


def times(weight: np.ndarray, opset: int = 21) -> onnx.ModelProto:
    """output = input x weight, by way of float32."""
    constants, make = {"w": weight}, helper.make_node("Cast", ["w"], ["f"], to=TensorProto.FLOAT)
    if weight.dtype.kind in "iu":
        constants, make = {"w": weight, "s": np.float32(1)}, helper.make_node("DequantizeLinear", ["w", "s"], ["f"])
    graph = helper.make_graph(
        [make, helper.make_node("Mul", ["input", "f"], ["output"])],
        "graph",
        [helper.make_tensor_value_info("input", TensorProto.FLOAT, [1])],
        [helper.make_tensor_value_info("output", TensorProto.FLOAT, list(weight.shape))],
        [numpy_helper.from_array(value, name) for name, value in constants.items()],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=10)


def packed(model: onnx.ModelProto, nonzeros: str = "exact") -> onnx.ModelProto:
    copy = onnx.ModelProto()
    copy.CopyFrom(model)
    leave_out_zeros(copy, nonzeros)
    onnx.checker.check_model(copy, full_check=True)
    return copy


def arrays(model: onnx.ModelProto) -> dict[str, np.ndarray]:
    return {item.name: numpy_helper.to_array(item) for item in model.graph.initializer}


def optimised(model: onnx.ModelProto, folder: Path) -> onnx.GraphProto:
    """The graph as onnxruntime runs it."""
    options = onnxruntime.SessionOptions()
    options.optimized_model_filepath, options.log_severity_level = str(folder / "optimised.onnx"), 4
    onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    return onnx.load(folder / "optimised.onnx").graph


def content(graph: onnx.GraphProto) -> tuple[Counter[str], Counter[bytes]]:
    """The operators and the constants of a graph, whatever their names."""
    return Counter(node.op_type for node in graph.node), Counter(item.raw_data for item in graph.initializer)


def answers(model: onnx.ModelProto, x: np.ndarray, level: onnxruntime.GraphOptimizationLevel) -> np.ndarray:
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level, options.intra_op_num_threads, options.log_severity_level = level, 1, 4
    session = onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    output: np.ndarray = session.run(None, {"input": x})[0]
    return output


def zeroed(model: nn.Module, share: float = 0.7) -> nn.Module:
    """The model without the smallest weights of every layer."""
    for parameter in model.parameters():
        if parameter.dim() > 1:
            flat = parameter.data.view(-1)
            flat[flat.abs().argsort()[: round(share * flat.numel())]] = 0
    return model


@pytest.mark.parametrize(
    ("shape", "kind", "opset"),
    [
        *[((37, 53), kind, 21) for kind in (np.float32, np.float16, np.float64, np.int8, np.uint8)],
        *[(shape, np.float32, 21) for shape in ((999,), (1, 1000), (16, 3, 5, 5), (8, 4, 3, 3, 3))],
        *[((37, 53), np.float32, opset) for opset in (18, 19, 25)],
    ],
)
def test_the_decoded_weight_is_the_weight(shape: tuple[int, ...], kind: type, opset: int) -> None:
    weight = sparse(shape, kind, zeros=0.95)
    model = packed(times(weight, opset))
    assert "w_mask" in arrays(model)
    for evaluate in (
        lambda: ReferenceEvaluator(model).run(None, {"input": ONE})[0],
        lambda: open_session(model.SerializeToString()).run(ONE)["output"],
        lambda: open_session(model.SerializeToString(), optimized=False).run(ONE)["output"],
    ):
        np.testing.assert_array_equal(evaluate(), weight.astype(np.float32))


def test_a_weight_of_zeros_alone_comes_back(tmp_path: Path) -> None:
    model = packed(times(np.zeros((64, 64), np.float32)))
    assert arrays(model)["w_nonzeros"].tolist() == [0]
    assert not open_session(model.SerializeToString()).run(ONE)["output"].any()


def test_what_is_stored_is_one_bit_an_element_and_the_values_that_are_not_zero() -> None:
    weight = np.zeros((10, 103), np.float32)
    weight[0, [0, 7, 8]] = 2, 3, 5  # bits 0, 7 and 8: the first byte is 10000001, the second 10000000
    found = arrays(packed(times(weight)))
    assert found["w_nonzeros"].tolist() == [0, 2, 3, 5]
    assert found["w_mask"].shape == (129, 1)  # 1,030 bits
    assert found["w_mask"][:3, 0].tolist() == [0b10000001, 0b10000000, 0]


def test_negative_zeros_are_left_out_too() -> None:
    weight = np.full((50, 50), -0.0, np.float32)
    weight[0, 0] = 1
    assert arrays(packed(times(weight)))["w_nonzeros"].tolist() == [0, 1]


@pytest.mark.parametrize("value", [np.nan, np.inf], ids=str)
def test_values_that_are_no_numbers_are_kept(value: float) -> None:
    weight = sparse((50, 50))
    weight[3, 4] = value
    found = open_session(packed(times(weight), "float16").SerializeToString()).run(ONE)["output"]
    np.testing.assert_array_equal(found, weight)


@settings(max_examples=40, deadline=None)
@given(elements=st.integers(1, 3000), zeros=st.floats(0, 1), kind=st.sampled_from([np.float32, np.int8]))
def test_the_file_never_grows(elements: int, zeros: float, kind: type) -> None:
    model = times(sparse((elements,), kind, zeros=zeros))
    assert packed(model).ByteSize() <= model.ByteSize()


@pytest.mark.parametrize(
    ("model", "nonzeros"),
    [
        pytest.param(times(sparse((64, 64), zeros=0)), "exact", id="no zeros"),
        pytest.param(times(sparse((64, 64), zeros=0)), "float16", id="no zeros, float16 allowed"),
        pytest.param(times(sparse((8, 8))), "exact", id="too small"),
        pytest.param(times(sparse((64, 64))), "dense", id="not wanted"),
    ],
)
def test_a_file_that_would_not_gain_stays_as_it_is(model: onnx.ModelProto, nonzeros: str) -> None:
    assert packed(model, nonzeros) == model


def test_numbers_that_are_no_weights_stay_as_they_are() -> None:
    model = times(sparse((64, 64), zeros=0))
    indices = numpy_helper.from_array(np.zeros((64, 64), np.int8), "table")
    model.graph.initializer.append(indices)
    model.graph.initializer.append(numpy_helper.from_array(np.zeros(5000, np.int64), "shape"))
    assert packed(model) == model


def test_a_constant_that_the_caller_may_replace_stays() -> None:
    model = times(sparse((64, 64)))
    model.graph.input.append(helper.make_tensor_value_info("w", TensorProto.FLOAT, [64, 64]))
    assert packed(model) == model


def test_half_precision_rounds_the_nonzeros_alone() -> None:
    weight = sparse((64, 64))
    model = packed(times(weight), "float16")
    assert arrays(model)["w_nonzeros"].dtype == np.float16
    found = open_session(model.SerializeToString()).run(ONE)["output"]
    np.testing.assert_array_equal(found, weight.astype(np.float16).astype(np.float32))


@pytest.mark.parametrize("factor", [1e6, 1e-7], ids=["beyond its largest", "among its smallest"])
def test_a_weight_that_half_precision_cannot_hold_is_stored_exactly(factor: float) -> None:
    weight = sparse((64, 64)) * np.float32(factor)
    model = packed(times(weight), "float16")
    assert arrays(model)["w_nonzeros"].dtype == np.float32
    np.testing.assert_array_equal(open_session(model.SerializeToString()).run(ONE)["output"], weight)


def test_names_that_are_taken_are_not_used_twice() -> None:
    model = times(sparse((64, 64)))
    for name, item in (("_0", model.graph.node[0]), ("_3", model.graph.node[1])):
        item.output[0] = name
    model.graph.node[1].input[1], model.graph.output[0].name = "_0", "_3"
    made = [name for node in packed(model).graph.node for name in node.output]
    assert len(made) == len(set(made))


def branch(name: str, weight: np.ndarray) -> onnx.GraphProto:
    """output = input x weight of the branch x weight of the graph around it."""
    own, half, made = f"{name}.own", f"{name}.half", f"{name}.output"
    nodes = [helper.make_node("Mul", ["input", own], [half]), helper.make_node("Mul", [half, "w"], [made])]
    outputs = [helper.make_tensor_value_info(made, TensorProto.FLOAT, list(weight.shape))]
    return helper.make_graph(nodes, name, [], outputs, [numpy_helper.from_array(weight, own)])


def branching(weight: np.ndarray) -> onnx.ModelProto:
    """output = input x weight x weight, doubled where the input is above zero."""
    model = times(weight)
    del model.graph.node[:]
    model.graph.initializer.append(numpy_helper.from_array(np.zeros(1, np.float32), "threshold"))
    ways = {"then_branch": branch("double", 2 * weight), "else_branch": branch("single", weight)}
    model.graph.node.append(helper.make_node("Greater", ["input", "threshold"], ["above"]))
    model.graph.node.append(helper.make_node("If", ["above"], ["output"], **ways))
    return model


def inside(graph: onnx.GraphProto) -> list[onnx.GraphProto]:
    return [attribute.g for node in graph.node if node.op_type == "If" for attribute in node.attribute]


@pytest.mark.parametrize("x", [ONE, -ONE], ids=["one branch", "the other"])
def test_branches_decode_their_own_weights_and_see_those_around_them(x: np.ndarray) -> None:
    weight = sparse((40, 40))
    model, expected = packed(branching(weight)), (2 if x > 0 else 1) * x * weight * weight
    assert all(any(item.name.endswith(".own_mask") for item in graph.initializer) for graph in inside(model.graph))
    np.testing.assert_array_equal(open_session(model.SerializeToString()).run(x)["output"], expected)
    np.testing.assert_array_equal(ReferenceEvaluator(model).run(None, {"input": x})[0], expected)


def test_a_session_runs_the_branches_of_the_dense_file(tmp_path: Path) -> None:
    model = branching(sparse((40, 40)))
    dense, lean = (
        {graph.output[0].name: content(graph) for graph in inside(optimised(each, tmp_path))}
        for each in (model, packed(model))
    )
    assert lean == dense


@pytest.fixture(scope="module")
def mixed() -> tuple[onnx.ModelProto, onnx.ModelProto]:
    """A network with grouped and shared layers, BatchNorm and a residual, 70 % zeros: dense and as it ships."""
    torch.manual_seed(0)
    model = zeroed(trained(user_models.mixed()))
    files = [to_onnx(model, input_shape=(3, 32, 32), target=AVX2, nonzeros=each) for each in ("dense", "exact")]
    return files[0], files[1]


def test_a_session_runs_the_graph_of_the_dense_file(mixed, tmp_path: Path) -> None:
    dense, lean = mixed
    assert lean.ByteSize() < dense.ByteSize()
    assert content(optimised(lean, tmp_path)) == content(optimised(dense, tmp_path))


@pytest.mark.slow
@pytest.mark.parametrize("factory", ["densenet_like", "mobilenetv3_like", "shufflenet_like", "unet_like", "small_vit"])
def test_a_session_runs_the_graph_of_the_dense_file_of_any_network(factory: str, tmp_path: Path) -> None:
    torch.manual_seed(0)
    model = zeroed(trained(getattr(user_models, factory)()))
    dense = to_onnx(model, input_shape=(3, 32, 32), target=AVX2, nonzeros="dense")
    lean = packed(dense)
    assert lean.ByteSize() < dense.ByteSize()
    assert content(optimised(lean, tmp_path)) == content(optimised(dense, tmp_path))


@pytest.mark.parametrize("level", [LEVELS.ORT_ENABLE_BASIC, LEVELS.ORT_ENABLE_EXTENDED, LEVELS.ORT_ENABLE_ALL], ids=str)
def test_a_network_answers_bit_for_bit_what_the_dense_file_answers(mixed, level) -> None:
    x = np.random.default_rng(0).standard_normal((4, 3, 32, 32), dtype=np.float32)
    np.testing.assert_array_equal(*(answers(model, x, level) for model in mixed))


def test_the_reference_computes_the_same_from_both_files(mixed) -> None:
    x = np.random.default_rng(0).standard_normal((1, 3, 32, 32), dtype=np.float32)
    np.testing.assert_array_equal(*(ReferenceEvaluator(model).run(None, {"input": x})[0] for model in mixed))


def test_an_integer_network_keeps_its_integer_kernels(tmp_path: Path) -> None:
    torch.manual_seed(0)
    model = quantized(zeroed(trained(nn.Sequential(nn.Conv2d(3, 32, 3), nn.ReLU(), nn.Conv2d(32, 64, 3)))), (3, 8, 8))
    dense, lean = (
        to_onnx(model.module, input_shape=(3, 8, 8), target=AVX2, nonzeros=each) for each in ("dense", "exact")
    )
    assert "2.weight_quantized_mask" in arrays(lean)
    kernels, constants = content(optimised(lean, tmp_path))
    assert (kernels["QLinearConv"], kernels["Gather"]) == (2, 0)
    assert constants == content(optimised(dense, tmp_path))[1]


@pytest.mark.slow
@pytest.mark.parametrize(("nonzeros", "share"), [("exact", 0.36), ("float16", 0.20)])
def test_a_resnet20_with_70_percent_zeros_shrinks(nonzeros: str, share: float) -> None:
    torch.manual_seed(0)
    model = zeroed(trained(MODELS["resnet20-cifar"].factory()))
    dense, lean = (
        to_onnx(model, input_shape=(3, 32, 32), target=AVX2, nonzeros=each).ByteSize() for each in ("dense", nonzeros)
    )
    assert lean <= share * dense
