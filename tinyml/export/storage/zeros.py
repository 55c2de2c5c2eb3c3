"""Leave the zeros of sparse weights out of the file: one bit an element says where they are.

    bit  = digit of the mask                      8 elements a byte, the first in the highest bit
    rank = cumsum(bit) x bit                      0 where the element is zero, else its place among the others
    x    = (0, nonzeros)[rank]

That is 1 + b (1 - s) bits an element of b bits and sparsity s, in place of b: less as soon as s > 1 / b. With float16
the non-zeros of a float tensor are rounded to 11 bits, unless it has values that float16 cannot hold that well. A zero
that is left out comes back as +0.

Source: the sparse storage of Deep Compression (Han et al. 2016, section 2), with a bit mask in place of its relative
indices of 4 to 8 bits: smaller for sparsities up to 0.75, and decoded by a cumulative sum.
"""

from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from onnx import helper, numpy_helper

from tinyml.export.storage.decoder import Decoder
from tinyml.export.storage.digits import store_digits
from tinyml.graph.packed_weights import MASK_SUFFIX, NONZEROS_SUFFIX

_HALF_PRECISION: Final = 2.0**-11  # largest relative error of rounding to float16's 11 bits


def store_nonzeros(decoder: Decoder, array: NDArray[Any], name: str, *, half: bool) -> Decoder:
    """Return the decoder, which makes `array` under this name out of its mask and its values that are not zero."""
    rounded = _rounded(array) if half else None
    values, kind = (array, array.dtype) if rounded is None else (rounded, np.dtype(np.float16))
    kept = values.reshape(-1) != 0
    stored = np.concatenate([np.zeros(1, kind), values.reshape(-1)[kept].astype(kind)])
    found = decoder.store(numpy_helper.from_array(stored, f"{name}{NONZEROS_SUFFIX}"))
    if kind != array.dtype:
        found = decoder.cast(found, helper.np_dtype_to_tensor_dtype(array.dtype))
    decoder.shaped(decoder.node("Gather", found, ranks_of(decoder, kept, name)), array.shape, output=name)
    return decoder


def ranks_of(decoder: Decoder, kept: NDArray[np.bool_], name: str) -> str:
    """Store the mask (elements,) and number its set bits from 1 on; return the tensor (elements,) int64."""
    bit = store_digits(decoder, kept.astype(np.uint8), 2, f"{name}{MASK_SUFFIX}")
    return decoder.node("Mul", decoder.node("CumSum", bit, decoder.constant(np.array(0))), bit)


def _rounded(array: NDArray[Any]) -> NDArray[Any] | None:
    """Return floats at float16's precision in their own type; None where one loses more than 2^-11 of the largest."""
    if array.dtype not in (np.float32, np.float64):
        return None
    with np.errstate(over="ignore", invalid="ignore"):
        rounded = array.astype(np.float16).astype(array.dtype)
        error, largest = np.abs(rounded - array).max(), np.abs(array).max()
    return rounded if error <= _HALF_PRECISION * largest else None  # infinite or NaN: not
