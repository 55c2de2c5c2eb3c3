"""Whose mistake a wrong code is: the exporter's, the quantizer's, the runtime's, or saturation."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch

from tinyml.export.rewrites.index import GraphIndex
from tinyml.verification import verify_file
from tinyml.verification.agreement import Reference
from tinyml.verification.layer_by_layer import (
    INPUT_ELEMENTS,
    LAYER_BY_LAYER,
    Difference,
    LayerTrial,
    layer_by_layer,
    layer_trial,
    read_layers,
)

OPSETS = {"": 21}
CODES = np.random.default_rng(0).integers(-60, 61, (7, 4)).astype(np.int8)
LARGE = np.full((6, 4), 127, np.int8)
BIAS = np.array([900, -2000, 0, 700], np.int32)
INPUTS = (np.random.default_rng(1).standard_normal((200, 7)) * 40).astype(np.float32)


def tried(model: onnx.ModelProto, x: torch.Tensor, answer: Callable) -> LayerTrial:
    """The trial of the only layer of a model, where the runtime answered `answer(layer)`."""
    index = GraphIndex(model.graph)
    ((layer,), _) = read_layers(model.graph, index, OPSETS)
    return layer_trial(layer, x, answer(layer), index, OPSETS)


def test_a_sound_file_passes_and_its_layers_are_counted(integer_graph) -> None:
    check = layer_by_layer(integer_graph("Gemm", CODES, bias=BIAS), INPUTS, threads=1)
    assert (check.name, check.outcome) == (LAYER_BY_LAYER, "passed")
    assert check.value == (
        "1 of 1 layers; onnxruntime 0% of 800 codes off by one step, 0% by more (layer); "
        "onnx.reference 0% of 4 codes off by one step, 0% by more (layer)"
    )


@pytest.mark.parametrize("factor", [2.0, 0.5, -1.0], ids=["twice", "half", "negative"])
def test_a_bias_on_a_wrong_scale_is_the_exporters_mistake(integer_graph, factor: float) -> None:
    model = integer_graph("Gemm", CODES, bias=BIAS, bias_factor=factor)
    check = layer_by_layer(model, INPUTS, threads=1)
    assert check.outcome == "failed"
    assert check.explanation.startswith(
        "layer: the exporter's mistake: the file's nodes do not compute what its integers"
    )
    assert "is the bias's scale that of input x weight?" in check.explanation


def test_a_sum_beyond_32_bits_is_the_quantizers_mistake(integer_graph) -> None:
    bias = np.array([2**31 - 1, 0, 0, 0], np.int32)
    check = layer_by_layer(integer_graph("Gemm", -abs(CODES), bias=bias, zeros=(255, 0)), INPUTS, threads=1)
    assert check.outcome == "failed"
    assert check.explanation.startswith(
        "layer: the quantizer's mistake: integer arithmetic: the shifted bias reaches 2147"
    )


def test_codes_of_sums_held_in_16_bits_are_the_runtimes_saturation(integer_graph) -> None:
    x = torch.full((2, 6), 255, dtype=torch.uint8)
    model = integer_graph("Gemm", LARGE, scales=(1.0, 1.0, 1024.0), zeros=(0, 0))
    trial = tried(model, x, lambda layer: layer.saturated(x))
    assert trial.fault.startswith("the runtime saturates: ")
    assert trial.fault.endswith("the file is right.")


@pytest.mark.parametrize("codes", [CODES, LARGE], ids=["weights that cannot saturate", "weights that can"])
def test_other_wrong_codes_are_the_kernels_mistake(integer_graph, codes: np.ndarray) -> None:
    x = torch.full((2, len(codes)), 255, dtype=torch.uint8)
    model = integer_graph("Gemm", codes, scales=(1.0, 1.0, 1024.0), zeros=(0, 0))
    trial = tried(model, x, lambda layer: layer.exact(x) + 2)
    assert trial.fault.startswith(
        "the runtime's mistake: the file is right by onnx.reference, this kernel is not (0% of 8"
    )


@pytest.mark.parametrize(
    ("one", "more", "agrees"),
    [(10, 0, True), (11, 0, False), (0, 1, False)],
    ids=["1 in 1,000", "more than 1 in 1,000", "one by two steps"],
)
def test_one_step_on_one_in_a_thousand_is_rounding(one: int, more: int, agrees: bool) -> None:
    assert Difference(codes=10_000, one=one, more=more).agrees == agrees


def test_a_single_code_of_a_small_layer_may_round_otherwise() -> None:
    found = [Difference(codes=40, one=one, more=0).agrees for one in (1, 2)]
    assert found == [True, False]


def test_shares_are_told_in_percent() -> None:
    assert str(Difference(codes=65536, one=8, more=4)) == "0.012% of 65,536 codes off by one step, 0.0061% by more"


def test_a_layer_that_answers_in_float_is_listed_and_not_compared(quantized_graph) -> None:
    check = layer_by_layer(quantized_graph("MatMul", CODES), INPUTS, threads=1)
    assert (check.value, check.bound, check.outcome) == ("0 of 1 layers", "", "noted")
    assert check.explanation == "Not compared: output (its answer stays in float)."


def test_as_many_inputs_are_taken_as_small_images_allow(integer_graph) -> None:
    inputs = np.tile(INPUTS, (INPUT_ELEMENTS // INPUTS.size + 1, 1))
    check = layer_by_layer(integer_graph("Gemm", CODES), inputs, threads=1)
    assert f"onnxruntime 0% of {INPUT_ELEMENTS // 7 * 4:,} codes" in check.value


def test_a_fixed_batch_is_filled(integer_graph) -> None:
    model = integer_graph("Gemm", CODES)
    model.graph.input[0].type.tensor_type.shape.dim[0].dim_value = 5
    assert "onnxruntime 0% of 20 codes" in layer_by_layer(model, INPUTS[:2], threads=1).value


def test_layers_inside_a_branch_are_listed(integer_graph) -> None:
    inner, outer = integer_graph("Gemm", CODES).graph, integer_graph("Gemm", CODES)
    branch = onnx.helper.make_graph(inner.node, "branch", [], inner.output, inner.initializer)
    condition = onnx.numpy_helper.from_array(np.array(True), "condition")
    outer.graph.initializer.append(condition)
    node = onnx.helper.make_node("If", ["condition"], ["either"], then_branch=branch, else_branch=branch)
    outer.graph.node.append(node)
    _, left_out = read_layers(outer.graph, GraphIndex(outer.graph), OPSETS)
    assert left_out == {"inside a branch": ["layer", "layer"]}


def test_verify_tries_the_layers_of_an_integer_file_and_none_of_a_float_file(
    integer_graph, identity, file_of: Callable[[onnx.ModelProto], Path]
) -> None:
    reference = Reference(inputs=INPUTS, outputs=np.zeros((200, 4), np.float32), real=False, classification=False)
    integer = verify_file(file_of(integer_graph("Gemm", CODES)), reference=reference, target=None)
    real = replace(reference, inputs=INPUTS[:, :3].copy(), outputs=INPUTS[:, :3].copy())
    floating = verify_file(file_of(identity()), reference=real, target=None)
    found = [[check.name for check in verification.checks] for verification in (integer, floating)]
    assert [LAYER_BY_LAYER in names for names in found] == [True, False]
