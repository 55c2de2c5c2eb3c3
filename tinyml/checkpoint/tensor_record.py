"""A tensor as a checkpoint describes it, before a byte of it is read: its storage, type, place, shape and strides.

Nothing is allocated for a description, so a file that claims 2^40 elements costs nothing to refuse.
"""

from collections.abc import Callable
from dataclasses import dataclass
from math import prod
from typing import Final

import torch
from torch import Tensor

from tinyml.errors import CheckpointError

READABLE: Final = frozenset(
    {
        torch.float64,
        torch.float32,
        torch.float16,
        torch.bfloat16,
        torch.float8_e4m3fn,
        torch.float8_e5m2,
        torch.complex64,
        torch.complex128,
        torch.int64,
        torch.int32,
        torch.int16,
        torch.int8,
        torch.uint64,
        torch.uint32,
        torch.uint16,
        torch.uint8,
        torch.bool,
    }
)

ReadStorage = Callable[[str], bytearray]
"""Returns the bytes of the storage with this key; the same object each time."""


@dataclass(frozen=True, kw_only=True)
class Storage:
    """A stretch of bytes in the file.

    Attributes:
        key: Its name in the file.
        dtype: The type of its elements; uint8 where the file leaves it open.
        total_bytes: Length of the whole storage.
        start_bytes: Where this view of it begins.
        size_bytes: Length of this view.
    """

    key: str
    dtype: torch.dtype
    total_bytes: int
    start_bytes: int
    size_bytes: int


@dataclass(frozen=True, kw_only=True)
class TensorRecord:
    """A strided view into a storage; offset and strides are counted in elements of `dtype`."""

    storage: Storage
    dtype: torch.dtype
    offset: int
    shape: tuple[int, ...]
    strides: tuple[int, ...]

    @property
    def elements(self) -> int:
        """Number of elements that the shape asks for."""
        return prod(self.shape)


def describe_tensor(
    storage: object, offset: object, shape: object, strides: object, dtype: torch.dtype | None = None
) -> TensorRecord:
    """Return the record of a tensor that lies inside its storage.

    Raises:
        CheckpointError: It reaches out of its storage, or claims more elements than the storage has (a bomb).
        TypeError: The parts are not what torch writes.
    """
    if not isinstance(storage, Storage) or not isinstance(shape, tuple) or not isinstance(strides, tuple):
        raise TypeError("a tensor is described by a storage, an offset, a shape and strides")
    if (dtype or storage.dtype) not in READABLE:
        raise CheckpointError(
            f"it has a tensor of type {dtype or storage.dtype}, which is not read. Save it as float32"
        )
    numbers = (offset, *shape, *strides)
    if len(shape) != len(strides) or any(type(number) is not int or number < 0 for number in numbers):
        raise TypeError("offset, shape and strides of a tensor are whole numbers, not negative")
    assert isinstance(offset, int)  # checked above, in a way that mypy cannot follow
    record = TensorRecord(storage=storage, dtype=dtype or storage.dtype, offset=offset, shape=shape, strides=strides)
    available = storage.size_bytes // record.dtype.itemsize
    if record.elements > available:
        raise CheckpointError(
            f"a tensor claims {record.elements} elements, but the file holds {available} for it: "
            "damaged, or made to exhaust the memory"
        )
    last = offset + sum((size - 1) * stride for size, stride in zip(shape, strides, strict=True))
    if record.elements > 0 and last >= available:
        raise CheckpointError(f"a tensor reaches element {last} of a storage of {available}: the file is damaged")
    return record


def to_tensor(record: TensorRecord, read_storage: ReadStorage) -> Tensor:
    """Return the tensor; tensors of one storage share its memory, so the file bounds what is allocated.

    Raises:
        CheckpointError: The file does not hold the storage, or a number in the description is beyond torch.
    """
    storage = record.storage
    buffer = read_storage(storage.key) if record.elements else bytearray()
    count = storage.size_bytes // record.dtype.itemsize
    try:
        if record.elements == 0:
            return torch.empty(record.shape, dtype=record.dtype)
        flat = torch.frombuffer(buffer, dtype=record.dtype, offset=storage.start_bytes, count=count)
        return flat.as_strided(record.shape, record.strides, record.offset)
    except (RuntimeError, ValueError, OverflowError, TypeError) as error:
        raise CheckpointError("the shape of a tensor makes no sense: the file is damaged") from error
