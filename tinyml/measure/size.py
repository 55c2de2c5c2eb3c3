"""Bytes of an ONNX file with its external data, as it ships and compressed by gzip."""

import gzip
from pathlib import Path

import onnx
from onnx.external_data_helper import uses_external_data

from tinyml.measure.measurement import Measurement
from tinyml.measure.network import Network, subgraphs


def size_bytes(network: Network) -> Measurement:
    """Return the bytes of the file, with those of its external data."""
    files = shipped_files(network.path)
    return Measurement(
        metric="size_bytes",
        value=sum(file.stat().st_size for file in files),
        unit="bytes",
        details={"files": len(files)},
    )


def size_gzip_bytes(network: Network) -> Measurement:
    """Return the bytes of the same files after gzip (level 9): what a download or an update costs."""
    sizes = [len(gzip.compress(file.read_bytes(), compresslevel=9, mtime=0)) for file in shipped_files(network.path)]
    return Measurement(metric="size_gzip_bytes", value=sum(sizes), unit="bytes", details={"files": len(sizes)})


def shipped_files(path: Path) -> tuple[Path, ...]:
    """Return the ONNX file and the files of its external data, each once."""
    model = onnx.load(path, load_external_data=False)
    graphs = [model.graph]
    locations: dict[str, None] = {}
    while graphs:
        graph = graphs.pop()
        graphs += [inner for node in graph.node for inner in subgraphs(node)]
        for tensor in graph.initializer:
            if uses_external_data(tensor):
                locations |= {entry.value: None for entry in tensor.external_data if entry.key == "location"}
    return (path, *(path.parent / location for location in locations))
