import numpy as np
from onnx import TensorProto, helper

from tinyml.measure.memory import find_peak, peak_activation_bytes
from tinyml.measure.network import read_network


def matmul(source, made, name=""):
    return helper.make_node("MatMul", [source, "w"], [made], name)


def peak_of(save_graph, nodes, **extra):
    constants = {"w": np.ones((10, 10), np.float32)} | extra
    path = save_graph(nodes, inputs={"input": ["batch", 10]}, outputs={"output": ["batch", 10]}, constants=constants)
    return find_peak(read_network(path))


def test_a_chain_holds_what_a_node_reads_and_makes(save_graph):
    peak = peak_of(save_graph, [matmul("input", "a"), matmul("a", "b"), matmul("b", "output")])
    assert peak.size_bytes == 2 * 10 * 4


def test_a_shortcut_stays_alive_until_it_is_added(save_graph):
    add = helper.make_node("Add", ["b", "input"], ["output"])
    peak = peak_of(save_graph, [matmul("input", "a"), matmul("a", "b", "second"), add])
    assert (peak.size_bytes, peak.node) == (3 * 10 * 4, "second")


def test_an_activation_is_computed_in_place(save_graph):
    relu = helper.make_node("Relu", ["a"], ["output"])
    assert peak_of(save_graph, [matmul("input", "a"), relu]).size_bytes == 2 * 10 * 4


def test_a_tensor_that_somebody_reads_later_is_not_overwritten(save_graph):
    nodes = [matmul("input", "a"), helper.make_node("Relu", ["a"], ["r"]),
             matmul("r", "b"), helper.make_node("Add", ["a", "b"], ["output"])]  # fmt: skip
    assert peak_of(save_graph, nodes).size_bytes == 3 * 10 * 4


def test_a_wide_middle_is_the_peak(save_graph):
    wide = [helper.make_node("MatMul", ["input", "up"], ["a"]), helper.make_node("MatMul", ["a", "down"], ["output"])]
    up, down = np.ones((10, 70), np.float32), np.ones((70, 10), np.float32)
    assert peak_of(save_graph, wide, up=up, down=down).size_bytes == (70 + 10) * 4


def test_quantized_tensors_count_in_bytes_and_unfused_floats_in_full(quantized):
    # input 16 floats -> q 16 bytes -> conv makes 32 bytes; the mean has no integer form: 32 bytes + 32 floats + output
    measured = peak_activation_bytes(read_network(quantized))
    assert measured.value == 32 + 32 * 4
    assert measured.estimated


def test_a_tensor_of_unknown_shape_is_listed(save_graph):
    unknown = helper.make_node("Mystery", ["input"], ["m"], domain="com.microsoft")
    peak = peak_of(save_graph, [unknown, helper.make_node("Cast", ["m"], ["output"], to=TensorProto.FLOAT)])
    assert peak.unknown == ("m",)
