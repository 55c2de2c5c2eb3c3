"""Our own formats: a compressed model (architecture.json + model.safetensors), and trained weights in one file.

Neither holds code. Every byte is under a SHA-256: architecture.json carries its own and that of model.safetensors,
which also carries one of its contents; in a sealed run directory the manifest has them a second time.
"""

import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import Final

import torch
from pydantic import JsonValue, ValidationError
from torch import Tensor, nn

from tinyml.architecture import Architecture, build
from tinyml.checkpoint.fit import load_into
from tinyml.checkpoint.foreign import StateDict
from tinyml.checkpoint.safetensors_file import from_safetensors, to_safetensors
from tinyml.checkpoint.wording import listed
from tinyml.errors import CheckpointError
from tinyml.files import write_atomically
from tinyml.manifest import MANIFEST_NAME, read_manifest
from tinyml.sealed_json import from_sealed_json, to_sealed_json

ARCHITECTURE_NAME: Final = "architecture.json"
WEIGHTS_NAME: Final = "model.safetensors"
_WEIGHTS_KEY: Final = "weights_sha256"


def save_compressed(directory: Path, module: nn.Module, architecture: Architecture) -> None:
    """Write architecture.json and model.safetensors, each atomically; the same model gives the same bytes.

    Raises:
        CheckpointError: The module keeps something that is no tensor in its state.
        TinymlError: The directory cannot be written, or the disk is full.
    """
    weights, text = compressed_files(module, architecture)
    write_atomically(directory / WEIGHTS_NAME, weights)
    write_atomically(directory / ARCHITECTURE_NAME, text)


def compressed_files(module: nn.Module, architecture: Architecture) -> tuple[bytes, bytes]:
    """Return the bytes of model.safetensors and of architecture.json.

    Raises:
        CheckpointError: The module keeps something that is no tensor in its state.
    """
    weights = to_safetensors(_tensors_of(module), {})
    payload: dict[str, JsonValue] = {
        **architecture.model_dump(mode="json"),
        _WEIGHTS_KEY: hashlib.sha256(weights).hexdigest(),
    }
    return weights, to_sealed_json(payload).encode()


def load_compressed(directory: Path | str) -> tuple[nn.Module, Architecture]:
    """Return the compressed model, rebuilt and in eval mode, and its architecture.

    Raises:
        CheckpointError: A file is missing, was changed since it was written, or another version of tinyml wrote it.
        ModelError: The factory that the model is built from is not there.
    """
    directory = Path(directory)
    text, weights = _read(directory / ARCHITECTURE_NAME), _read(directory / WEIGHTS_NAME)
    _check_manifest(directory, {ARCHITECTURE_NAME: text, WEIGHTS_NAME: weights})
    return compressed_from_files(weights, text, directory=directory)


def compressed_from_files(weights: bytes, text: bytes, *, directory: Path = Path()) -> tuple[nn.Module, Architecture]:
    """Return the compressed model, rebuilt and in eval mode, and its architecture, from what `compressed_files` gave.

    Args:
        weights: The bytes of model.safetensors.
        text: The bytes of architecture.json.
        directory: Where they are from, for messages.

    Raises:
        CheckpointError: The bytes were changed since they were written, or another version of tinyml wrote them.
        ModelError: The factory that the model is built from is not there.
    """
    architecture, weights_sha256 = _parse(text, directory)
    if weights_sha256 != hashlib.sha256(weights).hexdigest():
        raise CheckpointError(
            f"'{directory / WEIGHTS_NAME}' was changed or damaged after it was written: its SHA-256 is not the one in "
            f"{ARCHITECTURE_NAME}."
        )
    module = build(architecture)
    _load_exactly(module, weights, directory / WEIGHTS_NAME)
    return module.eval(), architecture


def read_architecture(directory: Path) -> Architecture:
    """Return the architecture of a compressed model, without its weights.

    Raises:
        CheckpointError: The file is missing, was changed, or another version of tinyml wrote it.
    """
    return _parse(_read(directory / ARCHITECTURE_NAME), directory)[0]


def save_trained(path: Path, module: nn.Module, metadata: Mapping[str, str]) -> None:
    """Write trained weights as one safetensors file that `read_state` and others read, with a SHA-256 in its header.

    Args:
        path: FILE.safetensors; replaced atomically where it exists.
        module: Its parameters and buffers are written.
        metadata: Text about the file, such as {"model": "resnet20-cifar", "model_args": "{}"}.

    Raises:
        CheckpointError: The module keeps something that is no tensor in its state.
        TinymlError: The place cannot be written, or the disk is full.
    """
    write_atomically(path, to_safetensors(_tensors_of(module), metadata))


def _tensors_of(module: nn.Module) -> dict[str, Tensor]:
    state = module.state_dict()
    if others := [name for name, value in state.items() if not isinstance(value, Tensor)]:
        raise CheckpointError(
            f"The model keeps what is no tensor in its state, so it cannot be saved: {listed(others)}."
        )
    return dict(state)


def _load_exactly(module: nn.Module, weights: bytes, path: Path) -> None:
    try:
        tensors, _ = from_safetensors(weights)
    except CheckpointError as error:
        raise CheckpointError(f"'{path}' cannot be used: {error}.") from error.__cause__
    own = module.state_dict()
    changed = [name for name, tensor in tensors.items() if name in own and own[name].dtype != tensor.dtype]
    if changed or tensors.keys() != own.keys():
        # The fault is in the pair of files or in the user's factory; fit names the tensors.
        load_into(module, StateDict(tensors=tensors), source=path)
        names = ", ".join(changed or sorted(own.keys() ^ tensors.keys()))
        raise CheckpointError(f"'{path}' does not match {ARCHITECTURE_NAME}: {names}. Was the model's factory changed?")
    shapes = [name for name, tensor in tensors.items() if own[name].shape != tensor.shape]
    if shapes:
        raise CheckpointError(
            f"'{path}' does not match {ARCHITECTURE_NAME}: other shapes of {', '.join(shapes[:8])}. "
            "Was the model's factory changed?"
        )
    with torch.no_grad():
        for name, tensor in tensors.items():
            own[name].copy_(tensor)


def _check_manifest(directory: Path, contents: Mapping[str, bytes]) -> None:
    if not (directory / MANIFEST_NAME).exists():
        return
    files = read_manifest(directory, error=CheckpointError).files
    for name, content in contents.items():
        if name in files and files[name].sha256 != hashlib.sha256(content).hexdigest():
            raise CheckpointError(f"'{directory / name}' was changed after the run was sealed: see {MANIFEST_NAME}.")


def _parse(text: bytes, directory: Path) -> tuple[Architecture, JsonValue]:
    """Return the architecture and the SHA-256 of its weights."""
    path = directory / ARCHITECTURE_NAME
    payload = from_sealed_json(_decoded(text, directory), source=path, error=CheckpointError)
    weights_sha256 = payload.pop(_WEIGHTS_KEY, None)
    supported = Architecture.model_fields["version"].default
    if payload.get("version") != supported:
        raise CheckpointError(
            f"'{path}' has format version {payload.get('version')}; this tinyml reads version {supported}. "
            "Use the version of tinyml that wrote it."
        )
    try:
        return Architecture.model_validate(payload), weights_sha256
    except ValidationError as error:
        faults = "; ".join(f"{'.'.join(map(str, fault['loc']))}: {fault['msg']}" for fault in error.errors())
        raise CheckpointError(f"'{path}' is not a compressed model that this version can build: {faults}.") from error


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except (FileNotFoundError, NotADirectoryError) as error:
        raise CheckpointError(
            f"'{path}' is missing: a compressed model is a folder with {ARCHITECTURE_NAME} and {WEIGHTS_NAME}."
        ) from error
    except OSError as error:
        raise CheckpointError(f"'{path}' cannot be read: {error.strerror}.") from error


def _decoded(text: bytes, directory: Path) -> str:
    try:
        return text.decode()
    except UnicodeDecodeError as error:
        raise CheckpointError(f"'{directory / ARCHITECTURE_NAME}' is damaged: it is not UTF-8 text.") from error
