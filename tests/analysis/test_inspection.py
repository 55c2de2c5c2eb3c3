"""The weights of a network in numbers that a reader can count."""

from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
import user_models
from onnx import TensorProto, helper, numpy_helper
from torch import nn

from tinyml.analysis.inspection import inspect_module, inspect_onnx, inspect_tensors
from tinyml.architecture import MaskWeights
from tinyml.errors import CheckpointError
from tinyml.export.storage import pack_weights
from tinyml.layers.mask import masks


def linear() -> nn.Sequential:
    layer = nn.Linear(3, 2)
    layer.weight.data = torch.tensor([[0.0, 1, 1], [-3, 0, 1]])
    return nn.Sequential(layer, nn.BatchNorm1d(2))


def test_a_layer_is_counted() -> None:
    facts = inspect_module(linear(), "net").layer("0")
    assert facts is not None
    assert (facts.kind, facts.shape, facts.weights, facts.zeros, facts.distinct) == ("Linear", (2, 3), 6, 2, 3)
    assert (facts.lowest, facts.highest, facts.mean, facts.stored, facts.size_bytes) == (-3, 1, 0, "float32", 24)
    assert facts.deviation == pytest.approx((12 / 6) ** 0.5)


def test_biases_and_norms_are_the_others() -> None:
    assert inspect_module(linear(), "net").others == 2 + 2 + 2


def test_values_that_are_not_finite_are_counted_apart() -> None:
    facts = inspect_tensors({"a": torch.tensor([[torch.nan, 1.0, torch.inf, 3.0]])}, "file").layer("a")
    assert facts is not None
    assert (facts.not_finite, facts.lowest, facts.highest) == (2, 1, 3)


def test_a_masked_layer_is_seen_as_the_network_uses_it() -> None:
    model = MaskWeights(modules=("0",), structure="unstructured", ramp=0.0).apply(linear())
    for _, mask in masks(model):
        mask.mask[1] = False
    (facts,) = inspect_module(model, "net").layers
    assert (facts.name, facts.kind, facts.zeros) == ("0", "Linear", 4)


def test_tied_weights_are_shown_once() -> None:
    model = nn.Sequential(nn.Linear(3, 3), nn.Linear(3, 3))
    model[1].weight = model[0].weight
    assert [layer.name for layer in inspect_module(model, "net").layers] == ["0"]


def test_tensors_of_an_unknown_model_go_by_their_names() -> None:
    tensors = {"a.weight": torch.ones(2, 2, dtype=torch.float16), "a.bias": torch.ones(2), "steps": torch.tensor(3)}
    found = inspect_tensors(tensors, "file")
    assert [(layer.name, layer.kind, layer.stored, layer.size_bytes) for layer in found.layers] == [
        ("a", "tensor", "float16", 8)
    ]
    assert found.others == 2


def test_every_kind_of_weight_is_shown() -> None:
    names = [layer.name for layer in inspect_module(user_models.encoder(), "net").layers]
    assert {"patches", "encoder.self_attn.in_proj_weight", "encoder.linear1", "head"} <= set(names)


def test_nothing_to_show_is_refused() -> None:
    with pytest.raises(CheckpointError, match="holds no weights to show"):
        inspect_tensors({"steps": torch.tensor(3)}, "file")


def test_centroids_are_counted_before_the_factors_of_channels(tmp_path: Path) -> None:
    weight = np.resize(np.float32([-2, -1, 1, 3]), (64, 64))
    nodes = [
        helper.make_node("Mul", ["fc.weight", "fc.weight_factor"], ["scaled"]),
        helper.make_node("Gemm", ["input", "scaled"], ["output"], transB=1),
    ]
    constants = {"fc.weight": weight, "fc.weight_factor": np.linspace(1, 2, 64, dtype=np.float32)[:, None]}
    sides = [helper.make_tensor_value_info(name, TensorProto.FLOAT, [1, 64]) for name in ("input", "output")]
    tensors = [numpy_helper.from_array(array, name) for name, array in constants.items()]
    graph = helper.make_graph(nodes, "net", sides[:1], sides[1:], tensors)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 21)], ir_version=10)
    pack_weights(model)
    onnx.save(model, tmp_path / "m.onnx")
    (facts,) = inspect_onnx(tmp_path / "m.onnx").layers
    assert (facts.name, facts.distinct, facts.stored, facts.highest) == ("fc", 4, "2-bit codebook", 6)
    assert facts.size_bytes == 64 * 64 // 4 + 4 * 4 + 64 * 4
