"""The format of torch.save before 1.6: pickles one behind the other, then the storages.

The pickles are magic number, version, system, content, and the storages' keys. Each storage is its number of elements
(int64, little endian) and its bytes, in the order of the keys.
"""

import mmap
import struct
from typing import IO, Final, cast

from tinyml.checkpoint.pickle_machine import PickleMachine
from tinyml.checkpoint.tensor_record import Storage
from tinyml.checkpoint.wording import printable
from tinyml.checkpoint.zip_archive import parse_storage_identity, parse_storage_key
from tinyml.errors import CheckpointError

_MAGIC: Final = 0x1950A86A20F9469CFC6C
_PROTOCOL: Final = 1001
_LENGTH: Final = struct.Struct("<q")


class LegacyCheckpoint:
    """The descriptions in a legacy checkpoint (`content`) and the bytes behind them."""

    def __init__(self, data: mmap.mmap) -> None:
        self._data = data
        self._sizes: dict[str, tuple[int, int]] = {}
        self._starts: dict[str, int] = {}
        self._storages: dict[str, bytearray] = {}
        machine = PickleMachine(self._persistent_load)
        stream = cast("IO[bytes]", data)  # it reads like a file
        self.unknown_names = machine.unknown
        self.content: object = None
        if machine.run(stream) != _MAGIC:
            self._refuse_plain_pickle()
            return
        if machine.run(stream) != _PROTOCOL:
            raise CheckpointError("its version of the legacy format is unknown, or it is damaged")
        system = machine.run(stream)
        if not isinstance(system, dict) or system.get("little_endian") is not True:
            raise CheckpointError("it was written on a big-endian machine, or is damaged")
        self.content = machine.run(stream)
        if not self.unknown_names:
            self._locate(machine.run(stream))

    def read_storage(self, key: str) -> bytearray:
        """Return the bytes of a storage; the same object each time."""
        if key not in self._storages:
            if key not in self._starts:
                raise CheckpointError(f"the storage '{printable(key)}' is missing: the file is truncated or damaged")
            start, (elements, itemsize) = self._starts[key], self._sizes[key]
            self._storages[key] = bytearray(self._data[start : start + elements * itemsize])
        return self._storages[key]

    def _refuse_plain_pickle(self) -> None:
        if not self.unknown_names:  # else the caller names them: that matters more
            raise CheckpointError(
                "it is a plain pickle, not a checkpoint of torch. "
                "Write one: torch.save(model.state_dict(), 'weights.pt')"
            )

    def _persistent_load(self, identity: object) -> object:
        if isinstance(identity, tuple) and len(identity) > 1 and identity[0] == "module":
            return identity[1]  # the name of a class with its source: the machine has noted it
        key, dtype, elements = parse_storage_identity(identity)
        size = (elements, dtype.itemsize)
        if self._sizes.setdefault(key, size) != size:
            raise CheckpointError(f"the storage '{printable(key)}' is described twice and differently: damaged")
        total_bytes = elements * dtype.itemsize
        if total_bytes > len(self._data):
            raise CheckpointError(
                f"the storage '{printable(key)}' claims {total_bytes} bytes in a file of {len(self._data)}: truncated, "
                "damaged, or made to exhaust the memory"
            )
        start, length = _view(identity, elements)
        return Storage(
            key=key,
            dtype=dtype,
            total_bytes=total_bytes,
            start_bytes=start * dtype.itemsize,
            size_bytes=length * dtype.itemsize,
        )

    def _locate(self, keys: object) -> None:
        names = [parse_storage_key(key) for key in keys] if isinstance(keys, list) else []
        if len(names) != len(self._sizes) or set(names) != self._sizes.keys():
            raise CheckpointError("its list of storages does not match its contents: damaged")
        position = self._data.tell()
        for key in names:
            elements, itemsize = self._sizes[key]
            head = self._data[position : position + _LENGTH.size]
            end = position + _LENGTH.size + elements * itemsize
            if len(head) < _LENGTH.size or end > len(self._data):
                raise CheckpointError(
                    f"it is truncated: it ends at {len(self._data)} bytes, in the middle of its weights. Get it again"
                )
            if _LENGTH.unpack(head)[0] != elements:
                raise CheckpointError(f"the length of the storage '{printable(key)}' is damaged")
            self._starts[key] = position + _LENGTH.size
            position = end


def _view(identity: object, elements: int) -> tuple[int, int]:
    """Return offset and length, in elements, of the part of the storage that ('storage', ..., view) means."""
    view = identity[5] if isinstance(identity, tuple) and len(identity) > 5 else None
    if view is None:
        return 0, elements
    _, offset, length = view
    if type(offset) is not int or type(length) is not int or min(offset, length) < 0 or offset + length > elements:
        raise CheckpointError("a part of a storage lies outside it: the file is damaged")
    return offset, length
