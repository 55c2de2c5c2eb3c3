"""Bytes of an ONNX file with its external data, as it ships and compressed by gzip."""

import gzip
from pathlib import Path
from typing import Final

from onnx.external_data_helper import uses_external_data

from tinyml.measure.ledger import bytes_by_kind, stored_tensors
from tinyml.measure.measurement import Measurement
from tinyml.measure.network import Network

FILES: Final = "files"
"""Key of the number of files among the details of `size_bytes`; all others are kinds of content."""


def size_bytes(network: Network) -> Measurement:
    """Return the bytes of the file, with those of its external data; the details have them by kind of content."""
    files = shipped_files(network.path)
    size = sum(file.stat().st_size for file in files)
    details = {FILES: len(files), **bytes_by_kind(network, size)}
    return Measurement(metric="size_bytes", value=size, unit="bytes", details=details)


def size_gzip_bytes(network: Network) -> Measurement:
    """Return the bytes of the same files after gzip (level 9): what a download or an update costs."""
    sizes = [len(gzip.compress(file.read_bytes(), compresslevel=9, mtime=0)) for file in shipped_files(network.path)]
    return Measurement(metric="size_gzip_bytes", value=sum(sizes), unit="bytes", details={FILES: len(sizes)})


def shipped_files(path: Path) -> tuple[Path, ...]:
    """Return the ONNX file and the files of its external data, each once."""
    entries = [entry for tensor in stored_tensors(path) if uses_external_data(tensor) for entry in tensor.external_data]
    locations = dict.fromkeys(entry.value for entry in entries if entry.key == "location")
    return (path, *(path.parent / location for location in locations))
