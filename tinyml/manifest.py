"""The manifest that seals a run directory: the SHA-256 and size of every file, and what the run depended on."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from pydantic import BaseModel, ConfigDict, Field, JsonValue, ValidationError

from tinyml.errors import OutputError, TinymlError
from tinyml.files import sha256_of
from tinyml.sealed_json import read_sealed_json, write_sealed_json

MANIFEST_NAME: Final = "manifest.json"
WORK_NAME: Final = ".work"
_FORMAT: Final = "tinyml-run"
_VERSION: Final = 1


class FileFact(BaseModel):
    """What the manifest knows of one file."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    sha256: str = Field(pattern="^[0-9a-f]{64}$")
    size_bytes: int


@dataclass(frozen=True, kw_only=True)
class Manifest:
    """The contents of manifest.json.

    Attributes:
        fingerprint: What the run depended on, by name (recipe, target, checkpoint, data, versions, seed, threads).
        files: By path relative to the directory, with forward slashes.
        fields: Everything else that the run recorded.
    """

    fingerprint: Mapping[str, str]
    files: Mapping[str, FileFact]
    fields: Mapping[str, JsonValue]


class _Parsed(BaseModel):
    model_config = ConfigDict(extra="allow")

    format: str
    format_version: int
    fingerprint: dict[str, str]
    files: dict[str, FileFact]


def write_manifest(directory: Path, *, fingerprint: Mapping[str, str], fields: Mapping[str, JsonValue]) -> None:
    """Hash every file of the directory and write its manifest, atomically.

    Raises:
        TinymlError: The place cannot be written, or the disk is full.
    """
    files: dict[str, JsonValue] = {name: fact.model_dump() for name, fact in facts_of(directory).items()}
    head: dict[str, JsonValue] = {
        "format": _FORMAT,
        "format_version": _VERSION,
        "fingerprint": dict(fingerprint),
        "files": files,
    }
    if taken := sorted(head.keys() & fields.keys()):
        raise ValueError(f"the manifest's own keys cannot be used: {', '.join(taken)}")
    write_sealed_json(directory / MANIFEST_NAME, {**fields, **head})


def read_manifest(directory: Path, *, error: type[TinymlError] = OutputError) -> Manifest:
    """Return the manifest of a sealed directory; the files themselves are not looked at.

    Raises:
        TinymlError: Of the class `error`: there is none, it is damaged, or another version of tinyml wrote it.
    """
    path = directory / MANIFEST_NAME
    payload = read_sealed_json(path, error=error)
    try:
        parsed = _Parsed.model_validate(payload)
    except ValidationError as cause:
        raise error(f"'{path}' is not the manifest of a tinyml run directory.") from cause
    if parsed.format != _FORMAT:
        raise error(f"'{path}' is not the manifest of a tinyml run directory.")
    if parsed.format_version != _VERSION:
        raise error(
            f"'{path}' has format version {parsed.format_version}; this tinyml reads version {_VERSION}. "
            "Use the version of tinyml that wrote it."
        )
    return Manifest(fingerprint=parsed.fingerprint, files=parsed.files, fields=parsed.model_extra or {})


def is_sealed(directory: Path) -> bool:
    """Return whether the directory is a finished run: it has a manifest of ours that is whole."""
    if not (directory / MANIFEST_NAME).is_file():
        return False
    try:
        read_manifest(directory)
    except OutputError:
        return False
    return True


def verify_manifest(directory: Path) -> list[str]:
    """Return one line for every difference between a sealed directory and its manifest; empty where there is none."""
    try:
        manifest = read_manifest(directory)
    except OutputError as error:
        return [str(error)]
    problems = []
    present = set(file_names(directory))
    for name, fact in sorted(manifest.files.items()):
        path = directory / name
        if name not in present:
            problems.append(f"'{name}' is missing.")
        elif path.stat().st_size != fact.size_bytes:
            problems.append(f"'{name}' was changed: {path.stat().st_size} bytes, written were {fact.size_bytes}.")
        elif sha256_of(path) != fact.sha256:
            problems.append(f"'{name}' was changed: its SHA-256 does not match.")
    problems += [f"'{name}' is not in the manifest." for name in sorted(present - manifest.files.keys())]
    return problems


def facts_of(directory: Path) -> dict[str, FileFact]:
    """Return the hash and size of every file by relative path, the manifest and the resume state left out."""
    return {name: fact_of(directory / name) for name in sorted(file_names(directory))}


def fact_of(path: Path) -> FileFact:
    """Return the hash and size of one file."""
    return FileFact(sha256=sha256_of(path), size_bytes=path.stat().st_size)


def file_names(directory: Path) -> Iterator[str]:
    """Yield the relative path of every file (links too), the manifest and the resume state left out."""
    for path in directory.rglob("*"):
        name = path.relative_to(directory).as_posix()
        if name == MANIFEST_NAME or name.split("/", 1)[0] == WORK_NAME:
            continue
        if path.is_symlink() or not path.is_dir():
            yield name
