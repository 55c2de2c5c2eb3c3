"""Checkpoints: those of others, read without running anything in them, and our own, which hold no code."""

from tinyml.checkpoint.fit import load_into
from tinyml.checkpoint.foreign import StateDict, read_state
from tinyml.checkpoint.own import (
    ARCHITECTURE_NAME,
    WEIGHTS_NAME,
    compressed_files,
    compressed_from_files,
    load_compressed,
    read_architecture,
    save_compressed,
    save_trained,
)

__all__ = [
    "ARCHITECTURE_NAME",
    "WEIGHTS_NAME",
    "StateDict",
    "compressed_files",
    "compressed_from_files",
    "load_compressed",
    "load_into",
    "read_architecture",
    "read_state",
    "save_compressed",
    "save_trained",
]
