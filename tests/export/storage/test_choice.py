"""Weights are stored where it pays, in files that stay what they were: decoders are gone once a session has loaded."""

import logging
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
from packed_models import ONE, answers, arrays, content, optimised, packed, sparse, times
from random_task import quantized, trained
from torch import Tensor, nn
from torch.nn.utils import parametrize

from tinyml.export import to_onnx
from tinyml.layers.operators import as_stored
from tinyml.models import MODELS
from tinyml.runtime.session import open_session
from tinyml.target import load_target

AVX2 = load_target("x86-avx2")
LEVELS = onnxruntime.GraphOptimizationLevel


def zeroed(model: nn.Module, share: float = 0.7) -> nn.Module:
    """The model without the smallest weights of every layer."""
    for parameter in model.parameters():
        if parameter.dim() > 1:
            flat = parameter.data.view(-1)
            flat[flat.abs().argsort()[: round(share * flat.numel())]] = 0
    return model


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


def test_codes_that_are_cast_to_float_are_packed() -> None:
    model = times(np.resize(np.arange(-7, 8, dtype=np.int8), (64, 64)))
    model.graph.node[0].CopyFrom(helper.make_node("Cast", ["w"], ["f"], to=TensorProto.FLOAT))
    assert arrays(packed(model))["w_indices"].dtype.name == "uint4"


@pytest.mark.parametrize(
    ("opset", "values", "said"),
    [
        (20, 16, ["opset 20 has no type of 4 bits: 2 share 8 bits"]),
        (21, 4, ["opset 21 has no type of 2 bits: 4 share 8 bits"]),
        (21, 16, []),
        (21, 8, []),
    ],
    ids=["4 bits", "2 bits", "4 bits have a type", "3 bits never have"],
)
def test_a_type_that_the_opset_lacks_is_named_with_what_is_done(opset: int, values: int, said: list[str], caplog):
    caplog.set_level(logging.INFO, "tinyml")
    packed(times(np.resize(np.linspace(-1, 1, values, dtype=np.float32), (64, 64)), opset=opset))
    assert [record.getMessage().partition(",")[0] for record in caplog.records] == said


def test_a_weight_stays_where_less_than_an_eighth_is_saved() -> None:
    weight = np.resize(np.arange(-63, 64, dtype=np.int8), (64, 64))  # 7 bits: 9 in 63 bits, 8/9 of the bytes
    assert packed(times(weight)) == times(weight)


def test_a_constant_that_the_caller_may_replace_stays() -> None:
    model = times(sparse((64, 64)))
    model.graph.input.append(helper.make_tensor_value_info("w", TensorProto.FLOAT, [64, 64]))
    assert packed(model) == model


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


def rounded(model: nn.Module) -> nn.Module:
    """The model with at most 16 values in every layer; where BatchNorm is folded, in every channel."""
    for parameter in model.parameters():
        if parameter.dim() > 1:
            step = parameter.data.abs().max() / 8
            parameter.data = (parameter.data / step).round().clamp(-8, 7) * step
    return model


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
@pytest.mark.parametrize("simplified", [zeroed, rounded], ids=["70 % zeros", "16 values"])
@pytest.mark.parametrize("factory", ["densenet_like", "mobilenetv3_like", "shufflenet_like", "unet_like", "small_vit"])
def test_a_session_runs_the_graph_of_the_dense_file_of_any_network(factory: str, simplified, tmp_path: Path) -> None:
    torch.manual_seed(0)
    model = simplified(trained(getattr(user_models, factory)()))
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


class Stored(nn.Module):
    """A parametrization that lets a weight through as it must be stored."""

    def forward(self, weight: Tensor) -> Tensor:
        kept: Tensor = as_stored(weight) if torch.compiler.is_exporting() else weight
        return kept


def clustered(model: nn.Module, values: int, zeros: float) -> nn.Module:
    """The model with that share of zeros in every layer, and the others replaced by the means of equal quantiles."""
    for layer in [layer for layer in model.modules() if isinstance(layer, nn.Conv2d | nn.Linear)]:
        flat = zeroed(layer, zeros).weight.data.view(-1)
        runs = flat[flat != 0].sort().values.tensor_split(values)
        edges, means = torch.stack([run[-1] for run in runs[:-1]]), torch.stack([run.mean() for run in runs])
        flat.copy_(torch.where(flat == 0, 0, means[torch.bucketize(flat, edges)]))
        parametrize.register_parametrization(layer, "weight", Stored())
    return model


@pytest.mark.slow
@pytest.mark.parametrize(
    ("values", "zeros", "share"),
    [(16, 0.0, 0.16), (8, 0.0, 0.12), (4, 0.0, 0.10), (16, 0.7, 0.10)],
    ids=["4 bits", "3 bits", "2 bits", "70 % zeros and 4 bits"],
)
def test_a_resnet20_of_few_values_shrinks(values: int, zeros: float, share: float) -> None:
    torch.manual_seed(0)
    model = trained(MODELS["resnet20-cifar"].factory())
    dense = to_onnx(model, input_shape=(3, 32, 32), target=AVX2).ByteSize()
    lean = to_onnx(clustered(model, values, zeros), input_shape=(3, 32, 32), target=AVX2)
    assert lean.ByteSize() <= share * dense


@pytest.mark.slow
@pytest.mark.parametrize(("nonzeros", "share"), [("exact", 0.36), ("float16", 0.20)])
def test_a_resnet20_with_70_percent_zeros_shrinks(nonzeros: str, share: float) -> None:
    torch.manual_seed(0)
    model = zeroed(trained(MODELS["resnet20-cifar"].factory()))
    dense, lean = (
        to_onnx(model, input_shape=(3, 32, 32), target=AVX2, nonzeros=each).ByteSize() for each in ("dense", nonzeros)
    )
    assert lean <= share * dense
