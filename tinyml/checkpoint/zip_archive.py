"""The zip format of torch.save (since 1.6): a pickle of descriptions, and each storage as an uncompressed entry."""

import mmap
import struct
import zipfile
from binascii import crc32
from io import BytesIO
from pathlib import Path
from typing import Final

import torch

from tinyml.checkpoint.pickle_machine import PickleMachine
from tinyml.checkpoint.pickle_names import STORAGE_MODULES, STORAGES
from tinyml.checkpoint.pickle_values import Name
from tinyml.checkpoint.tensor_record import Storage
from tinyml.checkpoint.wording import listed, printable
from tinyml.errors import CheckpointError

_LOCAL_HEADER: Final = struct.Struct("<4s22xHH")
_ENCRYPTED: Final = 0x1


class ZipArchive:
    """A zip file that lies in memory (mapped); its entries are read where they lie."""

    def __init__(self, data: mmap.mmap, path: Path) -> None:
        self._data = data
        try:
            with zipfile.ZipFile(path) as archive:
                entries = archive.infolist()
        except Exception as error:  # zipfile lets struct, unicode and value errors of damaged directories through
            raise CheckpointError("the zip archive is damaged or truncated: its directory cannot be read") from error
        self.entries = {entry.filename: entry for entry in entries}
        if len(self.entries) != len(entries):
            raise CheckpointError("the zip archive has two entries of one name: damaged, or made to mislead")

    def refuse_bombs(self) -> None:
        """Refuse entries that torch.save does not write, before anything is read from them.

        Raises:
            CheckpointError: An entry is compressed or encrypted, or the entries claim more bytes than the file has.
        """
        for name, entry in self.entries.items():
            if entry.compress_type != zipfile.ZIP_STORED or entry.flag_bits & _ENCRYPTED:
                raise CheckpointError(
                    f"the entry '{printable(name)}' of the zip archive is compressed or encrypted "
                    f"({entry.compress_size} bytes that claim to be {entry.file_size}): torch.save never compresses, "
                    "and such archives can be made to exhaust the memory. Unpack it, and pack it without compression"
                )
        total = sum(entry.file_size for entry in self.entries.values())
        if total > len(self._data):
            raise CheckpointError(f"the zip archive claims {total} bytes in a file of {len(self._data)}: a zip bomb")

    def read(self, name: str) -> bytes:
        """Return the bytes of an entry.

        Raises:
            CheckpointError: There is no such entry, it lies outside the file, or its checksum does not match.
        """
        entry = self.entries.get(name)
        if entry is None:
            raise CheckpointError(f"the zip archive has no entry '{printable(name)}': truncated or damaged")
        header = self._data[entry.header_offset : entry.header_offset + _LOCAL_HEADER.size]
        if len(header) < _LOCAL_HEADER.size or header[:4] != b"PK\x03\x04":
            raise CheckpointError(f"the entry '{printable(name)}' of the zip archive is damaged")
        _, name_length, extra_length = _LOCAL_HEADER.unpack(header)
        start = entry.header_offset + _LOCAL_HEADER.size + name_length + extra_length
        content = self._data[start : start + entry.file_size]
        # torch can be told to leave the checksum out; it then writes 0.
        if len(content) != entry.file_size or (entry.CRC != 0 and crc32(content) != entry.CRC):
            raise CheckpointError(f"the entry '{printable(name)}' of the zip archive is damaged: its checksum differs")
        return content


class ZipCheckpoint:
    """The descriptions in a zip checkpoint (`content`) and the bytes behind them."""

    def __init__(self, data: mmap.mmap, path: Path) -> None:
        self._archive = ZipArchive(data, path)
        pickle_name = _find_pickle(list(self._archive.entries))
        self._archive.refuse_bombs()
        self._folder = pickle_name.removesuffix("data.pkl")
        self._storages: dict[str, bytearray] = {}
        if f"{self._folder}byteorder" in self._archive.entries:
            order = self._archive.read(f"{self._folder}byteorder")
            if order != b"little":
                raise CheckpointError(f"its byte order is '{printable(order.decode('latin-1'))}'; only little is read")
        machine = PickleMachine(self._persistent_load)
        self.content = machine.run(BytesIO(self._archive.read(pickle_name)))
        self.unknown_names = machine.unknown

    def read_storage(self, key: str) -> bytearray:
        """Return the bytes of a storage; the same object each time."""
        if key not in self._storages:
            self._storages[key] = bytearray(self._archive.read(f"{self._folder}data/{key}"))
        return self._storages[key]

    def _persistent_load(self, identity: object) -> Storage:
        key, dtype, elements = parse_storage_identity(identity)
        entry = self._archive.entries.get(f"{self._folder}data/{key}")
        size_bytes = elements * dtype.itemsize
        if entry is None or entry.file_size != size_bytes:
            held = "no" if entry is None else str(entry.file_size)
            raise CheckpointError(
                f"the storage '{printable(key)}' claims {size_bytes} bytes and the file holds {held}: truncated, "
                "damaged, or made to exhaust the memory"
            )
        return Storage(key=key, dtype=dtype, total_bytes=size_bytes, start_bytes=0, size_bytes=size_bytes)


def parse_storage_identity(identity: object) -> tuple[str, torch.dtype, int]:
    """Return key, type and number of elements from ('storage', type, key, location, elements, ...).

    Raises:
        TypeError: It is not what torch writes.
    """
    if not isinstance(identity, tuple) or len(identity) < 5 or identity[0] != "storage":
        raise TypeError("a persistent id is not that of a storage")
    kind, key, elements = identity[1], identity[2], identity[4]
    module, _, name = kind.path.rpartition(".") if isinstance(kind, Name) else ("", "", "")
    if module not in STORAGE_MODULES or name not in STORAGES or type(elements) is not int or elements < 0:
        raise TypeError("a persistent id is not that of a storage")
    return parse_storage_key(key), STORAGES[name], elements


def parse_storage_key(key: object) -> str:
    """Return a storage's key as text.

    Raises:
        CheckpointError: It is neither text nor a number.
    """
    if not isinstance(key, str | int):  # showing anything else could take for ever
        raise CheckpointError("the key of a storage is not text: the file is damaged")
    return str(key)


def _find_pickle(names: list[str]) -> str:
    if any(name.endswith("constants.pkl") for name in names) and any("/code/" in name for name in names):
        raise CheckpointError(
            "it is a TorchScript program, not a state dict. Write one: "
            "torch.save(torch.jit.load(FILE).state_dict(), 'weights.pt')"
        )
    pickles = [name for name in names if name == "data.pkl" or (name.endswith("/data.pkl") and name.count("/") == 1)]
    if len(pickles) == 1:
        return pickles[0]
    if any("archive_format" in name or "/models/" in name or name.startswith("models/") for name in names):
        raise CheckpointError("it is a torch.export program, not a state dict. Write one with torch.save")
    raise CheckpointError(
        f"it is a zip archive that torch.save did not write; it holds {listed(names, at_most=3) or 'nothing'}. "
        "If a checkpoint is packed in it, unpack it first"
    )
