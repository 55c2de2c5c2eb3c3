"""Checkpoint files that are hostile, damaged or unusual, built byte by byte."""

import io
import pickle
import struct
import zipfile
from collections import OrderedDict
from pathlib import Path

import torch

MAGIC = pickle.dumps(0x1950A86A20F9469CFC6C, protocol=2)
PROTOCOL = pickle.dumps(1001, protocol=2)
SYSTEM = pickle.dumps({"protocol_version": 1001, "little_endian": True}, protocol=2)


class Mention:
    """Pickles as a call of 'module.attribute' with these arguments, whether or not the name exists."""

    def __init__(self, module: str, attribute: str, *arguments: object) -> None:
        self.name, self.arguments = (module, attribute), arguments


class StorageMention:
    def __init__(self, kind: str, key: str, elements: int, *view: object) -> None:
        self.identity = ("storage", Mention("torch", kind), key, "cpu", elements, *view)


def pickled(value: object) -> bytes:
    """Return a pickle of protocol 2 of plain values, calls and storages."""
    return b"\x80\x02" + _opcodes(value) + b"."


def _opcodes(value: object) -> bytes:
    if isinstance(value, Mention):
        name = "c{}\n{}\n".format(*value.name).encode()
        return name + (_opcodes(value.arguments) + b"R" if value.arguments else b"")
    if isinstance(value, StorageMention):
        return _opcodes(value.identity) + b"Q"
    if isinstance(value, tuple):
        return b"(" + b"".join(map(_opcodes, value)) + b"t"
    if isinstance(value, dict):
        return b"}(" + b"".join(_opcodes(key) + _opcodes(item) for key, item in value.items()) + b"u"
    return pickle.dumps(value, protocol=2)[2:-1]


def tensor(storage: StorageMention, shape: tuple[int, ...], strides: tuple[int, ...], offset: int = 0) -> Mention:
    return Mention("torch._utils", "_rebuild_tensor_v2", storage, offset, shape, strides, False, None)


def zip_file(path: Path, content: bytes, storages: dict[str, bytes], *, compression: int = zipfile.ZIP_STORED) -> Path:
    with zipfile.ZipFile(path, "w", compression) as archive:
        archive.writestr("archive/data.pkl", content)
        archive.writestr("archive/byteorder", b"little")
        for key, body in storages.items():
            archive.writestr(f"archive/data/{key}", body)
    return path


def legacy_file(path: Path, content: bytes, storages: dict[str, tuple[int, bytes]]) -> Path:
    keys = pickle.dumps(list(storages), protocol=2)
    bodies = b"".join(struct.pack("<q", elements) + body for elements, body in storages.values())
    path.write_bytes(MAGIC + PROTOCOL + SYSTEM + content + keys + bodies)
    return path


def saved(path: Path, value: object, *, legacy: bool = False) -> Path:
    torch.save(value, path, _use_new_zipfile_serialization=not legacy)
    return path


def weights() -> "OrderedDict[str, torch.Tensor]":
    return OrderedDict({"weight": torch.arange(6.0).reshape(2, 3), "bias": torch.tensor([0.5, -0.5])})


def as_bytes(value: object, *, legacy: bool = False) -> bytes:
    buffer = io.BytesIO()
    torch.save(value, buffer, _use_new_zipfile_serialization=not legacy)
    return buffer.getvalue()
