import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from tinyml.export.storage import pack_weights
from tinyml.measure.network import read_network
from tinyml.measure.parameters import count_parameters, parameters, parameters_nonzero


def test_weights_and_biases_count(convolution):
    network = read_network(convolution)
    assert parameters(network).value == 4 * 3 * 9 + 4 + 2 * 4 + 2
    assert parameters_nonzero(network).value == 4 * 3 * 9 + 4 + 2 * 4  # the linear bias is zero


def test_of_quantized_weights_only_the_weights_count(quantized):
    network = read_network(quantized)
    assert parameters(network).value == 2
    assert parameters_nonzero(network).value == 1


def test_a_zero_point_that_is_not_zero_stands_for_zero(save_graph):
    path = save_graph(
        [
            helper.make_node("DequantizeLinear", ["q", "s", "z"], ["w"]),
            helper.make_node("MatMul", ["input", "w"], ["output"]),
        ],
        inputs={"input": [1, 3]},
        outputs={"output": [1, 1]},
        constants={"q": np.uint8([[7], [0], [9]]), "s": np.float32(0.1), "z": np.uint8(7)},
    )
    assert parameters_nonzero(read_network(path)).value == 2


def test_a_codebook_layer_counts_its_weights_and_not_its_codes(save_graph):
    path = save_graph(
        [
            helper.make_node("Cast", ["i"], ["index"], to=TensorProto.INT64),
            helper.make_node("Gather", ["codes", "index"], ["w"]),
            helper.make_node("MatMul", ["input", "w"], ["output"]),
        ],
        inputs={"input": [1, 5]},
        outputs={"output": [1, 1]},
        constants={"i": np.uint8([[0], [1], [1], [0], [1]]), "codes": np.float32([0.0, 0.5])},
    )
    assert count_parameters(read_network(path)) == {"i": (5, 3)}


def test_a_weight_used_twice_counts_once(save_graph):
    path = save_graph(
        [helper.make_node("MatMul", ["input", "w"], ["h"]), helper.make_node("MatMul", ["h", "w"], ["output"])],
        inputs={"input": [1, 3]},
        outputs={"output": [1, 3]},
        constants={"w": np.ones((3, 3), np.float32)},
    )
    assert parameters(read_network(path)).value == 9


def test_batch_norm_counts_scale_and_bias_and_not_its_statistics(save_graph):
    path = save_graph(
        [helper.make_node("BatchNormalization", ["input", "scale", "bias", "mean", "variance"], ["output"])],
        inputs={"input": [1, 4, 2, 2]},
        outputs={"output": [1, 4, 2, 2]},
        constants={name: np.ones(4, np.float32) for name in ("scale", "bias", "mean", "variance")},
    )
    assert set(count_parameters(read_network(path))) == {"scale", "bias"}


@pytest.fixture
def normalising(save_graph):
    return save_graph(
        [
            helper.make_node("Cast", ["input"], ["float"], to=TensorProto.FLOAT),
            helper.make_node("Mul", ["float", "scale"], ["m"]),
            helper.make_node("Add", ["m", "shift"], ["x"]),
            helper.make_node("MatMul", ["x", "w"], ["y"]),
            helper.make_node("Add", ["y", "bias"], ["z"]),
            helper.make_node("Mul", ["z", "half"], ["output"]),
        ],
        inputs={"input": [1, 3]},
        outputs={"output": [1, 2]},
        input_type="uint8",
        constants={
            "scale": np.ones(3, np.float32), "shift": np.ones(3, np.float32), "w": np.ones((3, 2), np.float32),
            "bias": np.ones(2, np.float32), "half": np.float32(0.5),
        },
    )  # fmt: skip


def test_normalisation_of_the_input_and_single_numbers_are_no_parameters(normalising):
    assert set(count_parameters(read_network(normalising))) == {"w", "bias"}


def test_a_quantized_operator_subtracts_its_own_zero_point(save_graph):
    path = save_graph(
        [helper.make_node("MatMulInteger", ["input", "w", "az", "wz"], ["y"]),
         helper.make_node("Cast", ["y"], ["output"], to=TensorProto.FLOAT)],
        inputs={"input": [1, 2]}, outputs={"output": [1, 2]}, input_type="uint8",
        constants={"w": np.uint8([[3, 4], [3, 0]]), "az": np.uint8(0), "wz": np.uint8(3)},
    )  # fmt: skip
    assert count_parameters(read_network(path)) == {"w": (4, 2)}


def test_a_weight_without_its_zeros_counts_as_the_weight(save_graph):
    weight = np.zeros((64, 64), np.float32)
    weight[0] = 1
    path = save_graph(
        [helper.make_node("MatMul", ["input", "w"], ["output"])],
        inputs={"input": [1, 64]}, outputs={"output": [1, 64]}, constants={"w": weight},
    )  # fmt: skip
    model = onnx.load(path)
    pack_weights(model)
    onnx.save(model, path)
    assert "w" not in [item.name for item in model.graph.initializer]
    assert count_parameters(read_network(path)) == {"w": (64 * 64, 64)}
