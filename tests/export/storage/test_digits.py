"""Digits in words: the fewest bytes, and the same digits back."""

import numpy as np
import onnx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import helper, numpy_helper
from onnx.reference import ReferenceEvaluator

from tinyml.export.storage.decoder import Decoder, Names, Shared
from tinyml.export.storage.digits import digits_bytes, store_digits


def decoder(opset: int) -> tuple[Decoder, Shared]:
    shared = Shared(Names(onnx.ModelProto()), opset)
    return Decoder(shared), shared


@pytest.mark.parametrize(
    ("base", "opset", "size"),
    [
        (2, 25, 126),  # 8 in a byte
        (3, 25, 202),  # 5 in a byte: 3^5 = 243
        (4, 25, 252),  # 4 in a byte, or the type of 2 bits
        (5, 21, 304),  # 27 in 63 bits, 38 words
        (8, 21, 384),  # 21 in 63 bits, 48 words
        (16, 21, 504),  # the type of 4 bits
        (16, 18, 504),  # 2 in a byte
        (17, 21, 544),  # 15 in 63 bits, 68 words
        (32, 21, 672),  # 12 in 63 bits, 84 words
        (128, 21, 896),  # 9 in 63 bits, 112 words
        (200, 21, 1008),
        (256, 21, 1008),
    ],
)
def test_1008_digits_take_so_many_bytes(base: int, opset: int, size: int) -> None:
    assert digits_bytes(1008, base, opset) == size


@settings(max_examples=60, deadline=None)
@given(base=st.integers(2, 256), count=st.integers(1, 300), opset=st.sampled_from([18, 21, 25]), seed=st.integers(0, 9))
def test_what_is_stored_takes_those_bytes_and_comes_back(base: int, count: int, opset: int, seed: int) -> None:
    digits = np.random.default_rng(seed).integers(0, base, (count, 2))
    digits[-1] = base - 1
    made, shared = decoder(opset)
    name = store_digits(made, digits, base, "d")
    (stored,) = made.tensors
    assert len(stored.raw_data) == digits_bytes(2 * count, base, opset)
    output = helper.make_tensor_value_info(name, onnx.TensorProto.INT64, None)
    constants = [stored, *shared.read_by([made])]
    graph = helper.make_graph(made.nodes, "graph", [], [output], constants)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)])
    np.testing.assert_array_equal(ReferenceEvaluator(model).run(None, {})[0], digits)


def test_the_first_digit_lies_in_the_highest_bit_of_a_word() -> None:
    made, _ = decoder(21)
    store_digits(made, np.array([1, 0, 0, 0, 0, 0, 0, 1, 1]), 2, "d")
    assert numpy_helper.to_array(made.tensors[0]).tolist() == [[0b10000001], [0b10000000]]


def test_the_first_digit_of_a_small_type_lies_in_the_lowest_bits_as_onnx_wants_it() -> None:
    made, _ = decoder(21)
    store_digits(made, np.array([1, 15, 7]), 16, "d")
    assert made.tensors[0].raw_data == bytes([0xF1, 0x07])
    assert numpy_helper.to_array(made.tensors[0]).astype(int).tolist() == [1, 15, 7]
