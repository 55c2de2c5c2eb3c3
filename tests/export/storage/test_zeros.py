"""Sparse weights stored as bit mask and non-zeros: the same values, in fewer bytes."""

import numpy as np
import pytest
from onnx.reference import ReferenceEvaluator
from packed_models import ONE, arrays, packed, sparse, times

from tinyml.runtime.session import open_session


@pytest.mark.parametrize(
    ("shape", "kind", "opset"),
    [
        *[((37, 53), kind, 21) for kind in (np.float32, np.float16, np.float64, np.int8, np.uint8)],
        *[(shape, np.float32, 21) for shape in ((999,), (1, 1000), (16, 3, 5, 5), (8, 4, 3, 3, 3))],
        *[((37, 53), np.float32, opset) for opset in (18, 19, 25)],
    ],
)
def test_the_decoded_weight_is_the_weight(shape: tuple[int, ...], kind: type, opset: int) -> None:
    weight = sparse(shape, kind, zeros=0.95)
    model = packed(times(weight, opset))
    assert "w_mask" in arrays(model)
    for evaluate in (
        lambda: ReferenceEvaluator(model).run(None, {"input": ONE})[0],
        lambda: open_session(model.SerializeToString()).run(ONE)["output"],
        lambda: open_session(model.SerializeToString(), optimized=False).run(ONE)["output"],
    ):
        np.testing.assert_array_equal(evaluate(), weight.astype(np.float32))


@pytest.mark.parametrize("kind", [np.float32, np.int8])
def test_a_weight_of_zeros_alone_comes_back(kind: type) -> None:
    model = packed(times(np.zeros((64, 64), kind)))
    assert model.ByteSize() < 64 * 64 / 4
    assert not open_session(model.SerializeToString()).run(ONE)["output"].any()


def test_what_is_stored_is_one_bit_an_element_and_the_values_that_are_not_zero() -> None:
    weight = np.zeros((10, 103), np.float32)
    weight[0, [0, 7, 8]] = 2, 3, 5  # bits 0, 7 and 8: the first byte is 10000001, the second 10000000
    found = arrays(packed(times(weight)))
    assert found["w_nonzeros"].tolist() == [0, 2, 3, 5]
    assert found["w_mask"].shape == (129, 1)  # 1,030 bits
    assert found["w_mask"][:3, 0].tolist() == [0b10000001, 0b10000000, 0]


def test_negative_zeros_are_left_out_too() -> None:
    weight = sparse((50, 50))
    weight[weight == 0] = -0.0
    assert not np.signbit(arrays(packed(times(weight)))["w_nonzeros"][0])
    assert len(arrays(packed(times(weight)))["w_nonzeros"]) == 1 + np.count_nonzero(weight)


@pytest.mark.parametrize("value", [np.nan, np.inf], ids=str)
def test_values_that_are_no_numbers_are_kept(value: float) -> None:
    weight = sparse((50, 50))
    weight[3, 4] = value
    found = open_session(packed(times(weight), "float16").SerializeToString()).run(ONE)["output"]
    np.testing.assert_array_equal(found, weight)


def test_half_precision_rounds_the_nonzeros_alone() -> None:
    weight = sparse((64, 64))
    model = packed(times(weight), "float16")
    assert arrays(model)["w_nonzeros"].dtype == np.float16
    found = open_session(model.SerializeToString()).run(ONE)["output"]
    np.testing.assert_array_equal(found, weight.astype(np.float16).astype(np.float32))


@pytest.mark.parametrize("factor", [1e6, 1e-7], ids=["beyond its largest", "among its smallest"])
def test_a_weight_that_half_precision_cannot_hold_is_stored_exactly(factor: float) -> None:
    weight = sparse((64, 64)) * np.float32(factor)
    model = packed(times(weight), "float16")
    assert arrays(model)["w_nonzeros"].dtype == np.float32
    np.testing.assert_array_equal(open_session(model.SerializeToString()).run(ONE)["output"], weight)
