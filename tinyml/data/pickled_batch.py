"""Reads a python batch of CIFAR-10, a pickle, without running anything that it names.

A pickle may call any function that it can name. Here it can name only what a numpy array is rebuilt from, and even
those names lead to stand-ins that record what they were given: no code of numpy's sees the file's bytes until they
have been checked.
"""

import io
import pickle
import pickletools
from pathlib import Path

import numpy as np

from tinyml.errors import DataError

# A pickle can ask for a memo of any size by one number; a real batch has about 20,000 entries.
LARGEST_MEMO = 1_000_000


class _Array:
    """Stands in for numpy.ndarray: keeps its state (version, shape, dtype, order, bytes)."""

    state: object = None

    def __setstate__(self, state: object) -> None:
        self.state = state


class _DType:
    """Stands in for numpy.dtype: keeps its code, such as 'u1'."""

    def __init__(self, code: object, *_: object) -> None:
        self.code = code

    def __setstate__(self, state: object) -> None:
        """Ignore byte order and fields: only single bytes are accepted later."""


def _reconstruct(*_: object) -> _Array:
    return _Array()


def _encode(text: str, encoding: str = "latin1") -> bytes:
    if encoding != "latin1":
        raise pickle.UnpicklingError(f"text in the encoding {encoding!r}")
    return text.encode("latin1")


STAND_INS = {
    ("numpy.core.multiarray", "_reconstruct"): _reconstruct,
    ("numpy._core.multiarray", "_reconstruct"): _reconstruct,
    ("numpy", "ndarray"): _Array,
    ("numpy", "dtype"): _DType,
    ("_codecs", "encode"): _encode,
}


class _BatchUnpickler(pickle.Unpickler):
    def find_class(self, module_name: str, global_name: str) -> object:
        try:
            return STAND_INS[module_name, global_name]
        except KeyError:
            raise pickle.UnpicklingError(
                f"it names {module_name}.{global_name}, which no CIFAR-10 batch does"
            ) from None


def read_batch(content: bytes, path: Path) -> tuple[np.ndarray, np.ndarray]:
    """Return pixels uint8 (N, 3072) and labels int64 (N,) of a pickled batch; `path` is for messages.

    Raises:
        DataError: where the bytes are no pickle, name anything but arrays, or are not a CIFAR-10 batch.
    """
    batch = _unpickle(content, path)
    if not isinstance(batch, dict):
        raise DataError(f"{path}: holds a {type(batch).__name__}; a CIFAR-10 batch is a dictionary.")
    named = {key.decode("latin1") if isinstance(key, bytes) else key: value for key, value in batch.items()}
    missing = [key for key in ("data", "labels") if key not in named]
    if missing:
        raise DataError(f"{path}: no {' and '.join(missing)} in this batch; it holds {', '.join(map(str, named))}.")
    pixels, labels = _pixels(named["data"]), _labels(named["labels"])
    if pixels is None:
        raise DataError(f"{path}: data is not uint8 (N, 3072).")
    if labels is None or len(labels) != len(pixels):
        raise DataError(f"{path}: labels is not a list of {len(pixels)} small integers.")
    return pixels, labels


def _unpickle(content: bytes, path: Path) -> object:
    try:
        for opcode, argument, _ in pickletools.genops(content):
            if opcode.name.endswith("PUT") and isinstance(argument, int) and argument > LARGEST_MEMO:
                raise pickle.UnpicklingError(f"it asks for a memo of {argument} entries")
        return _BatchUnpickler(io.BytesIO(content), encoding="bytes").load()
    except pickle.UnpicklingError as failure:
        raise DataError(f"{path}: refused: {failure}.") from failure
    except Exception as failure:  # a damaged pickle raises nearly anything
        raise DataError(
            f"{path}: is not a readable CIFAR-10 batch ({type(failure).__name__}); files of the binary version "
            "end in .bin."
        ) from failure


def _pixels(array: object) -> np.ndarray | None:
    match getattr(array, "state", None):
        case (_, (int(count), 3072), _DType(code="u1" | b"u1"), False | 0, bytes(content)):
            return np.frombuffer(content, np.uint8).reshape(count, 3072) if len(content) == count * 3072 else None
    return None


def _labels(labels: object) -> np.ndarray | None:
    if not isinstance(labels, list) or not all(type(label) is int and 0 <= label < 256 for label in labels):
        return None
    return np.array(labels, dtype=np.int64)
