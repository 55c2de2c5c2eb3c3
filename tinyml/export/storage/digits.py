"""Whole numbers below a base in as few bits as they need: several digits in a word, or a type of 2 or 4 bits.

    word    = digit_1 base^(k-1) + ... + digit_k      k = the most digits that a word holds
    digit_i = (word / base^(k-i)) mod base

A word is a byte or 63 bits: bits are stored eight in a byte, ternary digits five in a byte, digits below 8 twenty-one
in an int64; at most an eighth of the bits is idle. Opset 21 has a type of 4 bits, opset 25 one
of 2, which need a Cast alone.
"""

from dataclasses import dataclass
from typing import Any, Final, final

import numpy as np
from numpy.typing import NDArray
from onnx import TensorProto, helper

from tinyml.export.storage.decoder import Decoder

_SMALL_TYPES: Final = ((25, 2, TensorProto.UINT2), (21, 4, TensorProto.UINT4))  # opset, bits, type
_WORDS: Final = ((8, 2**8, TensorProto.UINT8), (64, 2**63, TensorProto.INT64))  # bits, how many numbers it holds, type


@final
@dataclass(frozen=True, kw_only=True)
class _Layout:
    """How digits lie in a tensor.

    Attributes:
        kind: ONNX's number of the element type.
        bits: of an element.
        digits: in an element.
    """

    kind: int
    bits: int
    digits: int

    def size_bytes(self, count: int) -> int:
        """Return the bytes of so many digits."""
        return -(-(-(-count // self.digits) * self.bits) // 8)


def digits_bytes(count: int, base: int, opset: int) -> int:
    """Return the bytes that so many digits below the base (2 to 256) take."""
    return _layout(count, base, opset).size_bytes(count)


def store_digits(decoder: Decoder, digits: NDArray[np.integer[Any]], base: int, name: str) -> str:
    """Store whole numbers from 0 to base - 1 under the name; return the decoded tensor, int64 of the same shape."""
    layout = _layout(digits.size, base, decoder.opset)
    if layout.digits == 1:
        dims, content = digits.shape, _packed(digits.reshape(-1), layout.bits)
        return decoder.cast(_stored(decoder, layout, dims, content, name), TensorProto.INT64)
    wanted = _layout(digits.size, base, _SMALL_TYPES[0][0])
    if wanted != layout:
        decoder.fallback = (
            f"opset {decoder.opset} has no type of {wanted.bits} bits: {layout.digits} share {layout.bits} bits, "
            "and Div and Mod part them when a session loads the file"
        )
    powers = base ** np.arange(layout.digits - 1, -1, -1, dtype=np.int64)
    padded = np.zeros(-(-digits.size // layout.digits) * layout.digits, np.int64)
    padded[: digits.size] = digits.reshape(-1)
    words = (padded.reshape(-1, layout.digits) * powers).sum(axis=1)
    content = words.astype(np.uint8 if layout.bits == 8 else np.int64).tobytes()
    word = _stored(decoder, layout, (len(words), 1), content, name)
    if layout.bits == 8:
        word = decoder.cast(word, TensorProto.INT64)
    found = decoder.node("Mod", decoder.node("Div", word, decoder.constant(powers)), decoder.constant(np.array(base)))
    if padded.size > digits.size:
        ends = (decoder.constant(np.array([end])) for end in (0, digits.size))
        found = decoder.node("Slice", decoder.shaped(found, (-1,)), *ends)
        return found if digits.ndim == 1 else decoder.shaped(found, digits.shape)
    return decoder.shaped(found, digits.shape)


def _layout(count: int, base: int, opset: int) -> _Layout:
    """Return the layout of the fewest bytes; of equals the one that is decoded by the fewest nodes."""
    small = [_Layout(kind=kind, bits=bits, digits=1) for since, bits, kind in _SMALL_TYPES if opset >= since]
    words = [_Layout(kind=kind, bits=bits, digits=_most_digits(base, numbers)) for bits, numbers, kind in _WORDS]
    fitting = [layout for layout in (*small, *words) if base <= 2**layout.bits]
    return min(fitting, key=lambda layout: layout.size_bytes(count))


def _most_digits(base: int, numbers: int) -> int:
    """Return how many digits fit a word that holds so many numbers."""
    digits = 1
    while base ** (digits + 1) <= numbers:
        digits += 1
    return digits


def _packed(digits: NDArray[np.integer[Any]], bits: int) -> bytes:
    """Return digits of 2, 4 or 8 bits as ONNX stores them: the first in the lowest bits of its byte."""
    places = 8 // bits
    padded = np.zeros(-(-digits.size // places) * places, np.uint8)
    padded[: digits.size] = digits
    shifted = padded.reshape(-1, places) << (bits * np.arange(places, dtype=np.uint8))
    return bytes(shifted.sum(axis=1, dtype=np.uint8))


def _stored(decoder: Decoder, layout: _Layout, dims: tuple[int, ...], content: bytes, name: str) -> str:
    """Store the bytes of a tensor; return its name."""
    return decoder.store(helper.make_tensor(name, layout.kind, dims, content, raw=True))
