"""Reads CIFAR-10 (Krizhevsky 2009) as it is published: the binary version, or the python batches.

A binary record is one label byte and 3,072 pixels, channel after channel, row after row. The python batches are
pickles; they are read without running any code (see pickled_batch.py).
"""

from pathlib import Path
from typing import Literal

import numpy as np

from tinyml.data.npz import checked_split, require_file
from tinyml.data.pickled_batch import read_batch
from tinyml.data.split import Split
from tinyml.errors import DataError

CLASSES = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")
RECORD_BYTES = 1 + 3 * 32 * 32
TRAIN_BATCHES = tuple(f"data_batch_{number}" for number in range(1, 6))


def read_cifar10(path: Path, part: Literal["train", "validation", "test"]) -> Split:
    """Return x uint8 (N, 32, 32, 3) and y int64 (N,) of one file, or of a published folder.

    Args:
        path: a batch file, or the folder cifar-10-batches-bin or cifar-10-batches-py.
        part: in a folder, 'train' is data_batch_1 to 5; 'validation' and 'test' are test_batch.

    Raises:
        DataError: where a file is missing, damaged, or is not CIFAR-10.
    """
    files = _files_of_folder(path, part) if path.is_dir() else [path]
    parts = [_read_file(file) for file in files]
    x = np.concatenate([pixels for pixels, _ in parts])
    y = np.concatenate([labels for _, labels in parts])
    return checked_split(x, y, path)


def _files_of_folder(folder: Path, part: str) -> list[Path]:
    names = TRAIN_BATCHES if part == "train" else ("test_batch",)
    suffix = ".bin" if (folder / f"{names[0]}.bin").exists() else ""
    files = [folder / f"{name}{suffix}" for name in names]
    missing = [file.name for file in files if not file.is_file()]
    if missing:
        raise DataError(f"{folder}: no {', '.join(missing)} in this folder; it is not a published CIFAR-10 folder.")
    return files


def _read_file(path: Path) -> tuple[np.ndarray, np.ndarray]:
    """Return pixels (N, 32, 32, 3) and labels (N,)."""
    require_file(path)
    try:
        content = path.read_bytes()
    except OSError as failure:
        raise DataError(f"{path}: cannot be read: {failure.strerror}") from failure
    if path.suffix == ".bin":
        flat, labels = _binary_records(content, path)
    else:
        flat, labels = read_batch(content, path)
    wrong = np.flatnonzero(labels >= len(CLASSES))
    if len(wrong):
        raise DataError(f"{path}: label {labels[wrong[0]]} in record {wrong[0]}; allowed: 0 to 9.")
    return np.ascontiguousarray(flat.reshape(-1, 3, 32, 32).transpose(0, 2, 3, 1)), labels


def _binary_records(content: bytes, path: Path) -> tuple[np.ndarray, np.ndarray]:
    if len(content) % RECORD_BYTES:
        raise DataError(
            f"{path}: {len(content)} bytes is no multiple of {RECORD_BYTES}, the size of a CIFAR-10 record."
        )
    records = np.frombuffer(content, dtype=np.uint8).reshape(-1, RECORD_BYTES)
    return records[:, 1:], records[:, 0]
