import numpy as np
import pytest
from onnx import helper

from tinyml.measure.network import read_network
from tinyml.measure.storage import Storage

CONSTANTS = {"w": np.ones((10, 10), np.float32), "s": np.float32(1), "t": np.float32(2), "z": np.uint8(0)}


def node(operator, inputs, made):
    return helper.make_node(operator, inputs.split(), [made])


def stored(save_graph, *nodes):
    shapes = {"inputs": {"input": [1, 10]}, "outputs": {"output": [1, 10]}}
    return Storage(read_network(save_graph(nodes, constants=CONSTANTS, **shapes)))


@pytest.mark.parametrize("between", [[], ["Relu"], ["Clip"], ["Relu", "Flatten"]], ids=lambda names: "+".join(names))
def test_what_only_a_quantizer_reads_is_stored_quantized(save_graph, between):
    chain = [node("MatMul", "input w", "a0")]
    chain += [node(name, f"a{place}", f"a{place + 1}") for place, name in enumerate(between)]
    chain += [node("QuantizeLinear", f"a{len(between)} s z", "q"), node("DequantizeLinear", "q s z", "output")]
    assert stored(save_graph, *chain)("a0") == "q"


def test_quantizers_alike_store_one_tensor(save_graph):
    where = stored(
        save_graph, node("MatMul", "input w", "a"), node("QuantizeLinear", "a s z", "p"),
        node("QuantizeLinear", "a s z", "q"), node("DequantizeLinear", "p s z", "x"),
        node("DequantizeLinear", "q s z", "y"), node("Add", "x y", "output"),
    )  # fmt: skip
    assert {where(name) for name in ("a", "p", "q", "x", "y")} == {"p"}


@pytest.mark.parametrize(
    "reader", [node("QuantizeLinear", "a t z", "b"), node("MatMul", "a w", "b")], ids=["another scale", "a float layer"]
)
def test_what_is_read_otherwise_too_stays_float(save_graph, reader):
    where = stored(
        save_graph, node("MatMul", "input w", "a"), node("QuantizeLinear", "a s z", "q"), reader,
        node("DequantizeLinear", "q s z", "output"),
    )  # fmt: skip
    assert where("a") == "a"


def test_a_dequantizer_stores_nothing_unless_a_float_operator_reads_it(save_graph):
    chain = [node("QuantizeLinear", "input s z", "q"), node("DequantizeLinear", "q s z", "x")]
    assert stored(save_graph, *chain, node("MatMul", "x w", "output"))("x") == "q"
    assert stored(save_graph, *chain, node("Erf", "x", "output"))("x") == "x"


def test_an_output_is_stored_as_it_is(save_graph):
    where = stored(save_graph, node("MatMul", "input w", "output"), node("QuantizeLinear", "output s z", "q"))
    assert where("output") == "output"
