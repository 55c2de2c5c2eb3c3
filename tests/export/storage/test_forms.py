"""Every form in which a weight may be stored: it comes back bit for bit, for every reader, and costs no node."""

from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto
from onnx.reference import ReferenceEvaluator
from packed_models import ONE, content, optimised, packed, sparse, times

from tinyml.graph.onnx_constants import Constants
from tinyml.runtime.session import open_session

SHAPE = (24, 5, 3, 3)  # 1,080 elements: no whole number of words of 13, 16 or 63 digits
SIXTEEN = np.random.default_rng(1).standard_normal(16).astype(np.float32)


def drawn(values: object, kind: type = np.float32) -> np.ndarray:
    """Elements drawn from a few values."""
    return np.random.default_rng(0).choice(np.asarray(values, kind), SHAPE)


def without(weight: np.ndarray, share: float) -> np.ndarray:
    """The weight with that share of zeros."""
    return np.where(np.random.default_rng(2).random(weight.shape) < share, 0, weight).astype(weight.dtype)


def grouped(wide: int = 1) -> np.ndarray:
    """Four values for each run of six channels: 16 in all; so many times as wide."""
    return np.tile(np.concatenate([drawn(SIXTEEN[4 * k : 4 * k + 4])[:6] for k in range(4)]), (1, wide, 1, 1))


def apart() -> np.ndarray:
    """Four integers for each run of six channels: 16 in all."""
    return np.concatenate([drawn([-120 + k, -10 - k, 5 + k, 90 + k], np.int8)[:6] for k in range(0, 20, 5)])


F32, F16, F64 = TensorProto.FLOAT, TensorProto.FLOAT16, TensorProto.DOUBLE
U2, U4, U8, I8, I64 = TensorProto.UINT2, TensorProto.UINT4, TensorProto.UINT8, TensorProto.INT8, TensorProto.INT64
MASK, NONZEROS, INDICES, CODEBOOK = "w_mask", "w_nonzeros", "w_indices", "w_codebook"
CASES = {  # the weight, the opset, the tensors that are stored of it and their types
    "4 bit, a codebook": (drawn(SIXTEEN), 21, {INDICES: U4, CODEBOOK: F32}),
    "4 bit before its type": (drawn(SIXTEEN), 18, {INDICES: U8, CODEBOOK: F32}),
    "2 bit": (drawn(SIXTEEN[:4]), 25, {INDICES: U2, CODEBOOK: F32}),
    "2 bit before its type": (drawn(SIXTEEN[:4]), 21, {INDICES: U8, CODEBOOK: F32}),
    "3 bit": (drawn(SIXTEEN[:8]), 21, {INDICES: I64, CODEBOOK: F32}),
    "ternary": (drawn([-0.5, 0, 0.5]), 21, {INDICES: U8, CODEBOOK: F32}),
    "8 bit": (drawn(np.arange(200)), 21, {INDICES: U8, CODEBOOK: F32}),
    "half precision": (drawn(SIXTEEN, np.float16), 21, {INDICES: U4, CODEBOOK: F16}),
    "double precision": (drawn(SIXTEEN, np.float64), 21, {INDICES: U4, CODEBOOK: F64}),
    "a codebook a group": (grouped(), 25, {INDICES: U2, CODEBOOK: F32}),
    "zeros and a codebook": (without(drawn(SIXTEEN), 0.85), 21, {MASK: U8, INDICES: U4, CODEBOOK: F32}),
    "zeros and a codebook a group": (without(grouped(8), 0.6), 25, {MASK: U8, INDICES: U2, CODEBOOK: F32}),
    "zeros and values": (sparse(SHAPE), 21, {MASK: U8, NONZEROS: F32}),
    "4-bit integers": (drawn(np.arange(-7, 8), np.int8), 21, {INDICES: U4}),
    "2-bit integers": (drawn([-1, 0, 1], np.int8), 21, {INDICES: U8}),
    "unsigned integers": (drawn(np.arange(120, 128), np.uint8), 21, {INDICES: I64}),
    "integers far apart, others in each group": (apart(), 25, {INDICES: U2, CODEBOOK: I8}),
    "integers far apart": (drawn([-100, -10, 5, 90], np.int8), 25, {INDICES: U2, CODEBOOK: I8}),
}
EVERY = pytest.mark.parametrize(("weight", "opset", "parts"), CASES.values(), ids=CASES)


@EVERY
def test_it_is_stored_in_the_fewest_bytes(weight: np.ndarray, opset: int, parts: dict[str, int]) -> None:
    stored = {item.name: item.data_type for item in packed(times(weight, opset)).graph.initializer}
    assert {name: kind for name, kind in stored.items() if name.startswith("w")} == parts


@EVERY
def test_every_reader_finds_the_weight(weight: np.ndarray, opset: int, parts: dict[str, int]) -> None:
    model = packed(times(weight, opset))
    producers = {name: node for node in model.graph.node for name in node.output}
    constants = Constants({item.name: item for item in model.graph.initializer}, producers, {"": opset})
    expected = weight.astype(np.float32)
    assert constants.value("w").tobytes() == weight.tobytes()
    assert (constants.sources("f")[0], constants.parts("w")) == ("w", tuple(parts))
    for evaluate in (
        lambda: ReferenceEvaluator(model).run(None, {"input": ONE})[0],
        lambda: open_session(model.SerializeToString()).run(ONE)["output"],
        lambda: open_session(model.SerializeToString(), optimized=False).run(ONE)["output"],
    ):
        np.testing.assert_array_equal(evaluate(), expected)


@EVERY
def test_a_session_runs_what_it_runs_of_the_dense_file(
    weight: np.ndarray, opset: int, parts: dict[str, int], tmp_path: Path
) -> None:
    dense = times(weight, opset)
    assert content(optimised(packed(dense), tmp_path)) == content(optimised(dense, tmp_path))


@pytest.mark.parametrize("value", [np.nan, -np.inf, -0.0], ids=str)
def test_a_codebook_keeps_the_bits_of_odd_floats(value: float) -> None:
    weight = drawn([*SIXTEEN[:6], 0.0, value])
    found = open_session(packed(times(weight)).SerializeToString(), optimized=False).run(ONE)["output"]
    assert found.tobytes() == weight.tobytes()


def test_weights_on_one_range_of_integers_share_its_table() -> None:
    model = times(drawn(np.arange(-7, 8), np.int8))
    second = onnx.ModelProto()
    second.CopyFrom(model)
    second.graph.initializer.append(model.graph.initializer[0])
    second.graph.initializer[-1].name = "v"
    second.graph.node.append(onnx.helper.make_node("DequantizeLinear", ["v", "s"], ["g"]))
    tables = [item for item in packed(second).graph.initializer if item.data_type == TensorProto.INT8]
    assert [len(item.raw_data) for item in tables] == [15]


@pytest.mark.parametrize(("ir_version", "kind"), [(9, U8), (10, U4)])
def test_a_type_that_the_ir_version_lacks_is_not_used(ir_version: int, kind: int) -> None:
    model = times(drawn(SIXTEEN))
    model.ir_version = ir_version
    stored = {item.name: item.data_type for item in packed(model).graph.initializer}
    assert stored[INDICES] == kind
