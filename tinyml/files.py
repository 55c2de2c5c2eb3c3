"""Writing a file so that what was there before survives a full disk, a crash or a kill."""

import errno
import hashlib
import os
import secrets
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO, Final

from tinyml.errors import OutputError, TinymlError

TEMPORARY_PREFIX: Final = ".tinyml-"
TEMPORARY_SUFFIX: Final = ".tmp"

_FULL: Final = frozenset({errno.ENOSPC, errno.EDQUOT})
_REFUSED: Final = {
    errno.EACCES: "this user may not write there",
    errno.EPERM: "this user may not write there",
    errno.EROFS: "that disk is read-only",
    errno.ENOTDIR: "a part of the path is a file, not a folder",
    errno.EISDIR: "it is a folder",
    errno.ENOENT: "its folder does not exist",
    errno.ENAMETOOLONG: "the name is too long",
    errno.ELOOP: "its links go round in a circle",
}


def write_atomically(path: Path, content: bytes | Callable[[BinaryIO], None]) -> None:
    """Write a file under a temporary name in its own folder, flush it to the disk, and rename it into place.

    Args:
        path: Where the file goes; its folder must exist.
        content: The bytes, or what writes them to an open binary file.

    Raises:
        OutputError: The place cannot be written.
        TinymlError: The disk is full or fails. A file that was at `path` before is as it was.
    """
    temporary = path.parent / f"{TEMPORARY_PREFIX}{secrets.token_hex(8)}{TEMPORARY_SUFFIX}"
    with explained(path):
        try:
            with temporary.open("xb") as file:
                if callable(content):
                    content(file)
                else:
                    file.write(content)
                file.flush()
                os.fsync(file.fileno())
            temporary.replace(path)
        except BaseException:
            temporary.unlink(missing_ok=True)
            raise
        sync_folder(path.parent)


def is_temporary(path: Path) -> bool:
    """Return whether a file is what a killed `write_atomically` left behind."""
    return path.name.startswith(TEMPORARY_PREFIX) and path.name.endswith(TEMPORARY_SUFFIX)


def sync_folder(folder: Path) -> None:
    """Flush a folder's list of names to the disk, so that a rename in it survives a power cut."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def sha256_of(path: Path) -> str:
    """Return the SHA-256 of a file's bytes as 64 hexadecimal digits."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


@contextmanager
def explained(path: Path) -> Iterator[None]:
    """Turn a failure of the operating system while writing `path` into one clear line.

    Raises:
        OutputError: The place cannot be written (exit code 2).
        TinymlError: The disk is full or fails (exit code 1).
    """
    try:
        yield
    except OSError as error:
        if error.errno in _FULL:
            raise TinymlError(
                f"The disk is full: '{path}' could not be written. What was there before is untouched. "
                "Free some space and try again, or write to another disk."
            ) from error
        if error.errno in _REFUSED:
            raise OutputError(f"Cannot write '{path}': {_REFUSED[error.errno]}. Choose another output.") from error
        raise TinymlError(f"Writing '{path}' failed: {error.strerror or error}.") from error


def check_output_file(path: Path, *, overwrite: bool, inputs: Iterable[Path] = ()) -> None:
    """Refuse an output file that would replace something, or that cannot be written; nothing is written yet.

    Args:
        path: The file that a verb is about to write (`-o FILE`).
        overwrite: Whether the user allowed an existing file to be replaced.
        inputs: The files that the verb reads.

    Raises:
        OutputError: It is one of the inputs, a folder, exists already, or its folder is missing or read-only.
    """
    if any(path.resolve() == source.resolve() for source in inputs):
        raise OutputError(f"The output '{path}' is also an input. Choose another output.")
    if path.is_dir():
        raise OutputError(f"The output '{path}' is a folder; name a file in it.")
    if path.exists() and not overwrite:
        raise OutputError(f"The output '{path}' exists already. Add --overwrite to replace it, or choose another.")
    if not path.parent.is_dir():
        raise OutputError(f"The folder of the output '{path}' does not exist. Make it first, or choose another output.")
    if not os.access(path.parent, os.W_OK | os.X_OK):
        raise OutputError(f"Cannot write '{path}': its folder is read-only. Choose another output.")
