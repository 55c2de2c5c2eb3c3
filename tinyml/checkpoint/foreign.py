"""Reads the checkpoints of others: the formats of torch.save and safetensors, without running anything in them."""

import mmap
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from difflib import get_close_matches
from pathlib import Path
from typing import Final

from torch import Tensor

from tinyml.checkpoint.kinds import PICKLE_PROTOCOLS, explain_other_kind, looks_like_safetensors
from tinyml.checkpoint.legacy_stream import LegacyCheckpoint
from tinyml.checkpoint.pickle_machine import DamagedPickleError
from tinyml.checkpoint.pickle_names import explain_names
from tinyml.checkpoint.safetensors_file import from_safetensors
from tinyml.checkpoint.tensor_record import to_tensor
from tinyml.checkpoint.unwrap import find_state_dict, strip_wrappers
from tinyml.checkpoint.wording import printable
from tinyml.checkpoint.zip_archive import ZipCheckpoint
from tinyml.errors import CheckpointError

SUFFIXES: Final = (".pt", ".pth", ".th", ".tar", ".bin", ".ckpt", ".safetensors")


@dataclass(frozen=True, kw_only=True)
class StateDict:
    """The weights of a checkpoint.

    Attributes:
        tensors: By the name of the parameter or buffer, on the CPU.
        notes: What was undone or left out on the way, one short line each, for the user to see.
        metadata: What the file says about itself (safetensors only), such as the model that it was trained for.
    """

    tensors: dict[str, Tensor]
    notes: tuple[str, ...] = ()
    metadata: dict[str, str] = field(default_factory=dict)


def read_state(path: Path) -> StateDict:
    """Return the weights in a checkpoint: .pt .pth .th .tar .bin .ckpt .safetensors, recognised by content.

    Nothing in the file is run, and what is allocated is bounded by the file's size.

    Raises:
        CheckpointError: The file is missing, no checkpoint, damaged, hostile, or holds more than weights.
    """
    with _mapped(path) as data:
        try:
            return _read(data, path)
        except DamagedPickleError as error:
            raise CheckpointError(
                f"'{path}' is damaged or truncated: its pickle makes no sense. Get it again."
            ) from error
        except CheckpointError as error:
            raise CheckpointError(f"'{path}' cannot be used: {str(error).rstrip('.')}.") from error.__cause__


def _read(data: mmap.mmap, path: Path) -> StateDict:
    head = data[:512]
    if looks_like_safetensors(head, len(data)):
        tensors, metadata = from_safetensors(data[:])
        return _named(tensors, (), metadata)
    if head.startswith(b"PK\x03\x04"):
        checkpoint: ZipCheckpoint | LegacyCheckpoint = ZipCheckpoint(data, path)
    elif other := explain_other_kind(head):
        raise CheckpointError(other)
    elif head.startswith(PICKLE_PROTOCOLS) or _reads_as_pickle(data):
        checkpoint = LegacyCheckpoint(data)
    else:
        raise CheckpointError(_unknown_kind(path, head))
    if checkpoint.unknown_names:
        raise CheckpointError(f"it {explain_names(checkpoint.unknown_names)}")
    records, notes = find_state_dict(checkpoint.content)
    return _named({name: to_tensor(record, checkpoint.read_storage) for name, record in records.items()}, notes, {})


def _named(tensors: dict[str, Tensor], notes: tuple[str, ...], metadata: dict[str, str]) -> StateDict:
    if not tensors:
        raise CheckpointError("it holds no tensors")
    bare, stripped = strip_wrappers(list(tensors))
    return StateDict(
        tensors={short: tensors[name] for name, short in bare.items()}, notes=(*notes, *stripped), metadata=metadata
    )


def _reads_as_pickle(data: mmap.mmap) -> bool:
    """Return whether a file that begins unlike anything else may be a pickle of protocol 0 or 1, which has no mark."""
    return data[:1] in (b"(", b"c", b"}", b"]", b"i") and data[-1:] == b"."


def _unknown_kind(path: Path, head: bytes) -> str:
    if path.suffix == ".onnx":
        return "it is an ONNX file; a checkpoint of torch is needed here"
    if not any(head):
        return "it begins with zeros: the download or the disk went wrong"
    beginning = printable(head[:16].decode("latin-1"))
    return (
        f"it is no checkpoint of torch and no safetensors file; it begins with '{beginning}'. "
        f"Formats: {' '.join(SUFFIXES)}"
    )


@contextmanager
def _mapped(path: Path) -> Iterator[mmap.mmap]:
    try:
        if path.is_dir():
            kind = "the folder of a compressed model" if (path / "architecture.json").exists() else "a folder"
            raise CheckpointError(f"'{path}' is {kind}; a checkpoint file is needed here.")
        if path.exists() and not path.is_file():  # opening a pipe would wait for ever
            raise CheckpointError(f"'{path}' is not a regular file. Copy it into one first.")
        with path.open("rb") as file:
            if os.fstat(file.fileno()).st_size == 0:
                raise CheckpointError(f"'{path}' is empty. Get it again.")
            with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
                yield data
    except FileNotFoundError as error:
        raise CheckpointError(f"There is no file '{path}'.{_nearest(path)}") from error
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else str(error)
        raise CheckpointError(f"'{path}' cannot be read: {reason}.") from error


def _nearest(path: Path) -> str:
    try:
        names = sorted(entry.name for entry in path.parent.iterdir() if entry.suffix in SUFFIXES)
    except OSError:
        return f" The folder '{path.parent}' does not exist."
    near = get_close_matches(path.name, names, n=3, cutoff=0.5) or names[:3]
    return f" In its folder there is {', '.join(near)}." if near else " Its folder holds no checkpoint."
