import warnings

import numpy as np
import onnx
import pytest
import torch
from onnx import TensorProto, helper
from torch.utils.flop_counter import FlopCounterMode

from tinyml.measure.macs import count_macs, macs
from tinyml.measure.network import read_network
from tinyml.models import MODELS, create_model


def macs_of(path):
    return macs(read_network(path))


def test_a_convolution_and_a_linear_layer(convolution):
    measured = macs_of(convolution)
    assert measured.value == 4 * 8 * 8 * 3 * 9 + 4 * 2
    assert (measured.unit, measured.not_counted, measured.details["rule"]) == ("MACs", (), "conv-linear")


def test_a_quantized_convolution_counts_as_a_float_one(quantized):
    assert macs_of(quantized).value == 2 * 4 * 4 * 1


@pytest.mark.parametrize(
    ("operator", "settings", "weight", "output", "expected"),
    [
        ("Conv", {"group": 6, "pads": [1] * 4}, (6, 1, 3, 3), (6, 10, 10), 6 * 100 * 9),
        ("Conv", {"group": 2, "strides": [2, 2], "pads": [1] * 4}, (4, 3, 3, 3), (4, 5, 5), 4 * 25 * 3 * 9),
        ("Conv", {"dilations": [2, 2]}, (5, 6, 3, 3), (5, 6, 6), 5 * 36 * 6 * 9),
        ("ConvTranspose", {"strides": [2, 2]}, (6, 4, 2, 2), (4, 20, 20), 6 * 100 * 4 * 4),
    ],
    ids=["depthwise", "grouped with stride", "dilated", "transposed"],
)
def test_kinds_of_convolution(save_graph, operator, settings, weight, output, expected):
    path = save_graph(
        [helper.make_node(operator, ["input", "w"], ["output"], **settings)],
        inputs={"input": ["batch", 6, 10, 10]},
        outputs={"output": ["batch", *output]},
        constants={"w": np.ones(weight, np.float32)},
    )
    assert macs_of(path).value == expected


def test_a_product_of_activations_counts_every_batch_of_matrices(save_graph):
    path = save_graph(
        [
            helper.make_node("Transpose", ["input"], ["t"], perm=[0, 1, 3, 2]),
            helper.make_node("MatMul", ["input", "t"], ["output"]),
        ],
        inputs={"input": ["batch", 2, 5, 3]},
        outputs={"output": ["batch", 2, 5, 5]},
    )
    assert macs_of(path).value == 2 * 5 * 5 * 3


def test_a_gemm_with_a_transposed_left_side_sums_over_its_rows(save_graph):
    path = save_graph(
        [helper.make_node("Gemm", ["w", "input"], ["output"], transA=1)],
        inputs={"input": [1, 4]},
        outputs={"output": [3, 4]},
        constants={"w": np.ones((1, 3), np.float32)},
    )
    assert macs_of(path).value == 3 * 4 * 1


def test_an_unknown_operator_is_listed_and_not_taken_for_zero(save_graph):
    path = save_graph(
        [helper.make_node("Einsum", [source, source], [made], equation="ij,ij->ij") for source, made in
         [("input", "a"), ("a", "output")]],
        inputs={"input": [1, 4]},
        outputs={"output": [1, 4]},
    )  # fmt: skip
    assert macs_of(path).not_counted == ("Einsum (2 nodes)",)


def test_a_product_of_constants_costs_nothing(save_graph):
    path = save_graph(
        [helper.make_node("MatMul", ["a", "b"], ["w"]), helper.make_node("MatMul", ["input", "w"], ["output"])],
        inputs={"input": [1, 2]},
        outputs={"output": [1, 2]},
        constants={"a": np.eye(2, dtype=np.float32), "b": np.eye(2, dtype=np.float32)},
    )
    assert macs_of(path).value == 4


def test_of_a_branch_the_costlier_way_counts_and_the_cheaper_is_told(save_graph):
    def branch(name, constants):
        nodes = [helper.make_node("MatMul", ["input", *constants], [name])] if constants else [
            helper.make_node("Identity", ["input"], [name])
        ]  # fmt: skip
        return helper.make_graph(nodes, name, [], [helper.make_tensor_value_info(name, TensorProto.FLOAT, [1, 3])])

    path = save_graph(
        [helper.make_node("If", ["c"], ["output"], then_branch=branch("t", []), else_branch=branch("e", ["w"]))],
        inputs={"input": [1, 3]},
        outputs={"output": [1, 3]},
        constants={"w": np.ones((3, 3), np.float32), "c": np.bool_(True)},
    )
    measured = macs_of(path)
    assert measured.value == 9
    assert measured.details["least_with_branches"] == 0


def export(name, path):
    module, shape = create_model(name), MODELS[name].input_shape
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch's exporter warns about itself
        program = torch.onnx.export(
            module, (torch.zeros(2, *shape),), dynamo=True, dynamic_shapes=({0: "batch"},), verbose=False
        )
    onnx.save(program.model_proto, path)
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        module(torch.zeros(1, *shape))
    return counter.get_total_flops() // 2


@pytest.mark.slow
@pytest.mark.parametrize("name", sorted(MODELS))
def test_the_exported_zoo_equals_half_of_torchs_flop_counter(name, tmp_path):
    expected = export(name, tmp_path / "model.onnx")
    count = count_macs(read_network(tmp_path / "model.onnx"))
    assert (count.worst, count.best, count.not_counted) == (expected, expected, ())


def test_an_exported_network_equals_half_of_torchs_flop_counter(tmp_path):
    expected = export("lenet-digits", tmp_path / "model.onnx")
    assert macs_of(tmp_path / "model.onnx").value == expected
