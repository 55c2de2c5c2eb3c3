"""The bytes of a file by kind, and the bytes of its constants once it is loaded."""

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from tinyml.export.storage import pack_weights
from tinyml.measure.ledger import bytes_by_kind, loaded_bytes
from tinyml.measure.network import read_network
from tinyml.measure.size import size_bytes

WEIGHT = np.zeros((64, 64), np.float32)
WEIGHT[:, :10] = np.random.default_rng(0).uniform(1, 2, (64, 10))  # 640 of 4,096


def product(save_graph, **constants):
    shapes = {"inputs": {"input": ["batch", 64]}, "outputs": {"output": ["batch", 64]}}
    nodes = [helper.make_node("MatMul", ["input", "w"], ["y"]), helper.make_node("Add", ["y", "b"], ["output"])]
    return save_graph(nodes, constants={"w": WEIGHT, "b": np.arange(64, dtype=np.float32), **constants}, **shapes)


@pytest.fixture
def sparse(save_graph):
    path = product(save_graph)
    model = onnx.load(path)
    pack_weights(model, "float16")
    onnx.save(model, path)
    return path


def test_dense_tensors_count_by_their_type(save_graph):
    path = product(save_graph)
    size = path.stat().st_size
    payload = (4096 + 64) * 4
    assert bytes_by_kind(read_network(path), size) == {"float32 tensors": payload, "graph": size - payload}


def test_masks_and_nonzeros_are_kinds_of_their_own(sparse):
    ledger = bytes_by_kind(read_network(sparse), sparse.stat().st_size)
    assert ledger["bit masks"] == 4096 // 8
    assert ledger["non-zero weights"] == (640 + 1) * 2
    assert ledger["float32 tensors"] == 64 * 4
    assert sum(ledger.values()) == sparse.stat().st_size


def packed(path):
    model = onnx.load(path)
    pack_weights(model)
    onnx.save(model, path)
    return path


def test_indices_and_codebooks_are_kinds_of_their_own(save_graph):
    path = packed(product(save_graph, w=np.resize(np.float32([1, 2, 5, 9]), (64, 64))))
    ledger = bytes_by_kind(read_network(path), path.stat().st_size)
    assert (ledger["indices"], ledger["codebooks"]) == (4096 // 4, 4 * 4)
    assert sum(ledger.values()) == path.stat().st_size


def test_integers_in_fewer_bits_are_a_kind_with_their_table(save_graph):
    nodes = [
        helper.make_node("DequantizeLinear", ["w", "s"], ["d"]),
        helper.make_node("MatMul", ["input", "d"], ["output"]),
    ]
    constants = {"w": np.resize(np.arange(-7, 8, dtype=np.int8), (64, 64)), "s": np.float32(1)}
    shapes = {"inputs": {"input": ["batch", 64]}, "outputs": {"output": ["batch", 64]}}
    path = packed(save_graph(nodes, constants=constants, **shapes))
    ledger = bytes_by_kind(read_network(path), path.stat().st_size)
    assert (ledger["packed integers"], ledger["scales and zero points"]) == (4096 // 2 + 15, 4)


def test_a_loaded_file_holds_what_indices_stand_for(save_graph):
    path = packed(product(save_graph, w=np.resize(np.float32([1, 2, 5, 9]), (64, 64))))
    held = loaded_bytes(read_network(path))
    assert (held.value, held.not_counted) == ((4096 + 64) * 4, ())


def test_the_size_tells_its_kinds(sparse):
    size = size_bytes(read_network(sparse))
    assert sum(size.details.values()) - size.details["files"] == size.value


def test_scales_and_integers_are_told_apart(quantized):
    ledger = bytes_by_kind(read_network(quantized), quantized.stat().st_size)
    assert ledger["int8 tensors"] == 2
    assert ledger["scales and zero points"] == 4 + 1 + 2 * 4 + 2


def test_numbers_outside_the_raw_bytes_are_counted(save_graph):
    path = product(save_graph)
    model = onnx.load(path)
    model.graph.initializer[1].CopyFrom(helper.make_tensor("b", TensorProto.FLOAT, [64], [0.5] * 64))
    onnx.save(model, path)
    assert bytes_by_kind(read_network(path), path.stat().st_size)["float32 tensors"] == (4096 + 64) * 4 + 3  # the field


def test_external_data_is_counted(save_graph, tmp_path):
    onnx.save(onnx.load(product(save_graph)), tmp_path / "split.onnx", save_as_external_data=True, size_threshold=0)
    size = size_bytes(read_network(tmp_path / "split.onnx"))
    assert size.details["float32 tensors"] == (4096 + 64) * 4


def test_constants_of_branches_are_counted(save_graph):
    weight = helper.make_tensor("v", TensorProto.FLOAT, [2], np.ones(2, np.float32).tobytes(), raw=True)
    made = [helper.make_tensor_value_info("o", TensorProto.FLOAT, ["batch", 2])]
    ways = {
        way: helper.make_graph([helper.make_node("Mul", ["input", "v"], ["o"])], way, [], made, [weight])
        for way in ("then_branch", "else_branch")
    }
    path = save_graph(
        [helper.make_node("If", ["yes"], ["output"], **ways)], inputs={"input": ["batch", 2]},
        outputs={"output": ["batch", 2]}, constants={"yes": np.array(True)},
    )  # fmt: skip
    assert bytes_by_kind(read_network(path), 1000) == {"float32 tensors": 2 * 8, "graph": 1000 - 16}


def test_a_loaded_file_holds_its_weights_with_their_zeros(sparse):
    held = loaded_bytes(read_network(sparse))
    assert (held.value, held.details["tensors"], held.not_counted) == ((4096 + 64) * 4, 2, ())


def test_integers_stay_integers_when_they_are_loaded(quantized):
    # the weights, their scales and zero points; the scale and zero point of the activations; the axes
    assert loaded_bytes(read_network(quantized)).value == 2 * (1 + 4 + 1) + (4 + 1) + 2 * 8
