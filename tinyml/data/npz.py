"""Reads .npz files: x uint8 (N, H, W, C) or float (N, ...), y integers (N,). Never unpickles."""

import zipfile
import zlib
from pathlib import Path

import numpy as np

from tinyml.data.faults import array_faults
from tinyml.data.split import Split
from tinyml.errors import DataError, did_you_mean


def read_npz(path: Path) -> Split:
    """Return the x and y of the file; floats become float32, labels int64. Other arrays in it are not read.

    Raises:
        DataError: where the file is missing, damaged, holds objects, or its arrays are not x and y as above.
    """
    require_file(path)
    try:
        with path.open("rb") as file, zipfile.ZipFile(file) as archive:
            names = [name.removesuffix(".npy") for name in archive.namelist()]
        missing = [key for key in ("x", "y") if key not in names]
        if missing:
            nearest = did_you_mean(missing[0], [name.lower() for name in names])
            raise DataError(
                f"{path}: no {' and '.join(missing)} in the file; it holds {', '.join(names) or 'nothing'}.{nearest}"
            )
        with np.load(path, allow_pickle=False) as arrays:
            return checked_split(arrays["x"], arrays["y"], path)
    except zipfile.BadZipFile as failure:
        raise DataError(f"{path}: {_what_it_is(path)}") from failure
    except ValueError as failure:
        if "allow_pickle" in str(failure):
            raise DataError(
                f"{path}: x or y holds Python objects, which are never unpickled; save arrays of numbers."
            ) from failure
        raise DataError(f"{path}: is damaged: {failure}") from failure
    except (OSError, EOFError, zlib.error, NotImplementedError, MemoryError) as failure:
        raise DataError(f"{path}: cannot be read: {type(failure).__name__}: {failure}") from failure


def checked_split(x: np.ndarray, y: np.ndarray, path: Path) -> Split:
    """Return arrays read from `path` as a Split, in the types that a Split has.

    Raises:
        DataError: naming all that is wrong with the arrays.
    """
    faults = array_faults(x, y)
    if not faults and x.dtype == np.float64 and np.abs(x).max() > np.finfo(np.float32).max:
        faults = ["x holds values that overflow float32"]
    if faults:
        raise DataError("\n  ".join(f"{path}: {fault}" for fault in faults))
    return Split(x=x, y=y, source=f"file {path.name}")


def require_file(path: Path) -> None:
    """Do nothing where `path` is a file that is not empty.

    Raises:
        DataError: otherwise, with the nearest name in the same folder.
    """
    if path.is_dir():
        raise DataError(f"{path}: is a folder; a file is wanted here.")
    if not path.is_file():
        beside = [entry.name for entry in path.parent.iterdir()] if path.parent.is_dir() else []
        raise DataError(f"{path}: there is no such file.{did_you_mean(path.name, beside)}")
    if not path.stat().st_size:
        raise DataError(f"{path}: is empty.")


def _what_it_is(path: Path) -> str:
    with path.open("rb") as file:
        start = file.read(64)
    if start.startswith(b"version https://git-lfs"):
        return "is a git-LFS pointer, not the data; run `git lfs pull`."
    if start.startswith(b"\x93NUMPY"):
        return "is a single .npy array; save x and y together with numpy.savez."
    if start.startswith(b"PK"):
        return "is a truncated or damaged .npz file."
    return f"is not an .npz file; it begins with {start[:16]!r}."
