"""Safetensors files: any to read, and our own with a SHA-256 in the header, because the format takes a flipped bit.

The header is written here, not by the library, whose order of metadata changes from run to run. The digest covers the
names, types, shapes and bytes of all tensors and all other metadata; the key "tinyml" says that there must be a digest.
"""

import hashlib
import json
from collections.abc import Mapping
from typing import Final

import safetensors.torch
import torch
from torch import Tensor

from tinyml.errors import CheckpointError

MARK_KEY: Final = "tinyml"
DIGEST_KEY: Final = "content_sha256"
_VERSION: Final = "1"
_ALIGNMENT: Final = 8

_TYPE_NAMES: Final = {
    torch.bool: "BOOL",
    torch.uint8: "U8",
    torch.int8: "I8",
    torch.int16: "I16",
    torch.uint16: "U16",
    torch.float16: "F16",
    torch.bfloat16: "BF16",
    torch.int32: "I32",
    torch.uint32: "U32",
    torch.float32: "F32",
    torch.float64: "F64",
    torch.int64: "I64",
    torch.uint64: "U64",
}


def to_safetensors(tensors: Mapping[str, Tensor], metadata: Mapping[str, str]) -> bytes:
    """Return a safetensors file with a digest; the same tensors and metadata give the same bytes.

    Tensors that share memory are written one by one.

    Raises:
        CheckpointError: A tensor has a type that the format does not know.
    """
    if taken := {MARK_KEY, DIGEST_KEY, "format"} & metadata.keys():
        raise ValueError(f"metadata keys that tinyml sets itself: {', '.join(sorted(taken))}")
    complete = {**metadata, "format": "pt", MARK_KEY: _VERSION}
    header: dict[str, object] = {"__metadata__": complete}
    bodies = []
    position = 0
    # Wide types first, as the library orders them: every tensor then starts at a multiple of its element size.
    for name, tensor in sorted(tensors.items(), key=lambda item: (-item[1].dtype.itemsize, item[0])):
        body = _bytes_of(tensor)
        if tensor.dtype not in _TYPE_NAMES:
            raise CheckpointError(f"The tensor '{name}' has the type {tensor.dtype}, which safetensors cannot hold.")
        header[name] = {
            "dtype": _TYPE_NAMES[tensor.dtype],
            "shape": list(tensor.shape),
            "data_offsets": [position, position + len(body)],
        }
        bodies.append(body)
        position += len(body)
    complete[DIGEST_KEY] = _digest(tensors, complete)
    text = json.dumps(header, separators=(",", ":"), ensure_ascii=False).encode()
    text += b" " * (-len(text) % _ALIGNMENT)
    return b"".join([len(text).to_bytes(8, "little"), text, *bodies])


def from_safetensors(data: bytes) -> tuple[dict[str, Tensor], dict[str, str]]:
    """Return the tensors and the metadata of a safetensors file, its digest verified where there is one.

    Raises:
        CheckpointError: The file is damaged, or its digest does not match. The message does not name the file.
    """
    try:
        loaded = safetensors.torch.load(data)
        header = json.loads(data[8 : 8 + int.from_bytes(data[:8], "little")])
        # In the order of the file: the library's changes from run to run.
        tensors = {name: loaded[name] for name in header if name in loaded}
        metadata: dict[str, str] = header.get("__metadata__") or {}
    except Exception as error:  # the library raises its own, KeyError for new types, and memory errors
        raise CheckpointError(f"it is a damaged or truncated safetensors file ({error})") from error
    if MARK_KEY in metadata or DIGEST_KEY in metadata:
        others = {key: value for key, value in metadata.items() if key != DIGEST_KEY}
        if metadata.get(DIGEST_KEY) != _digest(tensors, others):
            raise CheckpointError(
                "it was changed or damaged after tinyml wrote it: its SHA-256 does not match. Get it again"
            )
    return tensors, metadata


def _digest(tensors: Mapping[str, Tensor], metadata: Mapping[str, str]) -> str:
    total = hashlib.sha256(json.dumps(sorted(metadata.items())).encode())
    for name, tensor in sorted(tensors.items()):
        total.update(json.dumps([name, str(tensor.dtype), list(tensor.shape)]).encode())
        total.update(_bytes_of(tensor))
    return total.hexdigest()


def _bytes_of(tensor: Tensor) -> bytes:
    flat = tensor.detach().to("cpu").contiguous().reshape(-1)
    return flat.view(torch.uint8).numpy().tobytes() if flat.numel() else b""
