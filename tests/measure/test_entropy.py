"""What codes of the weights take at their entropy."""

import math

import numpy as np
import onnx
import pytest
from onnx import helper

from tinyml.export.storage import pack_weights
from tinyml.measure.entropy import code_bytes, entropy_bytes
from tinyml.measure.network import read_network


@pytest.fixture
def file_of(save_graph):
    def make(weight: np.ndarray, *, pack: bool = True):
        decoding = [helper.make_node("DequantizeLinear", ["w", "s"], ["d"])] if weight.dtype == np.int8 else []
        product = helper.make_node("MatMul", ["input", "d" if decoding else "w"], ["output"])
        constants = {"w": weight, "s": np.float32(1)} if decoding else {"w": weight}
        shapes = {"inputs": {"input": ["batch", 64]}, "outputs": {"output": ["batch", weight.shape[1]]}}
        path = save_graph([*decoding, product], constants=constants, **shapes)
        model = onnx.load(path)
        if pack:
            pack_weights(model)
        onnx.save(model, path)
        return path

    return make


@pytest.mark.parametrize(
    ("counts", "size"),
    [
        ([800, 800], 200),  # 1 bit each
        ([800, 400, 200, 200], 350),  # 1, 2, 3 and 3 bits
        ([1600], 0),
        ([16, 1], math.ceil((16 * math.log2(17 / 16) + math.log2(17)) / 8)),
        ([], 0),
    ],
    ids=str,
)
def test_a_symbol_takes_the_logarithm_of_its_share(counts: list[int], size: int) -> None:
    assert code_bytes(np.repeat(np.arange(len(counts), dtype=np.float32), counts)) == size


def test_each_run_has_a_code_of_its_own() -> None:
    symbols = np.float32([1] * 64 + [2] * 64)
    assert (code_bytes(symbols), code_bytes(symbols, groups=2)) == (16, 0)


def test_indices_count_at_their_entropy_and_the_rest_as_it_is(file_of) -> None:
    weight = np.repeat(np.float32([1, 2, 5, 9]), [2048, 1024, 512, 512]).reshape(64, 64)  # 1.75 bits each
    path = file_of(np.random.default_rng(0).permutation(weight.ravel()).reshape(64, 64))
    bound = entropy_bytes(read_network(path))
    assert dict(bound.details) == {"coded_tensors": 1, "stored_bytes": 1024, "bound_bytes": 896}
    assert (bound.value, bound.estimated) == (path.stat().st_size - 1024 + 896, True)


def test_integers_count_at_their_entropy_whether_packed_or_not(file_of) -> None:
    weight = np.tile(np.arange(-4, 4, dtype=np.int8), 512).reshape(64, 64)  # 3 bits each, in a byte or 21 in 63 bits
    found = [entropy_bytes(read_network(file_of(weight, pack=pack))).details for pack in (False, True)]
    assert [dict(each) for each in found] == [
        {"coded_tensors": 1, "stored_bytes": 4096, "bound_bytes": 1536},
        {"coded_tensors": 1, "stored_bytes": 1568, "bound_bytes": 1536},
    ]


def test_a_mask_counts_at_its_entropy_and_the_values_behind_it_as_they_are(file_of) -> None:
    weight = np.zeros((64, 64), np.float32)
    weight[:, :16] = np.random.default_rng(0).uniform(1, 2, (64, 16))
    bits = 1024 * 2 + 3072 * math.log2(4 / 3)
    details = entropy_bytes(read_network(file_of(weight))).details
    assert (details["stored_bytes"], details["bound_bytes"]) == (512, math.ceil(bits / 8))


def test_indices_behind_a_mask_count_with_it(file_of) -> None:
    weight = np.zeros((64, 640), np.float32)
    weight[:, :64] = np.resize(np.float32([1, 2, 5, 9]), (64, 64))
    bits = 40960 * (0.1 * math.log2(40) + 0.9 * math.log2(1 / 0.9))
    details = entropy_bytes(read_network(file_of(weight))).details
    assert (details["stored_bytes"], details["bound_bytes"]) == (40960 // 8 + 4096 // 4, math.ceil(bits / 8))


def test_floats_are_no_codes(file_of) -> None:
    path = file_of(np.random.default_rng(0).standard_normal((64, 64)).astype(np.float32))
    assert entropy_bytes(read_network(path)).value == path.stat().st_size
