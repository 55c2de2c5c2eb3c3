"""JSON text that carries its own SHA-256: one changed character, even a space, is noticed when it is read.

The digest stands under the last key, "sha256", and is taken over the whole text with 64 zeros in its place.
"""

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from pydantic import JsonValue

from tinyml.errors import TinymlError
from tinyml.files import write_atomically

DIGEST_KEY: Final = "sha256"
_BLANK: Final = "0" * 64


def to_sealed_json(payload: Mapping[str, JsonValue]) -> str:
    """Return the payload as indented JSON with its digest; the same payload gives the same text."""
    if DIGEST_KEY in payload:
        raise ValueError(f"the key '{DIGEST_KEY}' is taken by the digest")
    text = to_json({**payload, DIGEST_KEY: _BLANK}, indent=2) + "\n"
    before, _, after = text.rpartition(_BLANK)
    return before + _digest(text) + after


def to_json(payload: Mapping[str, JsonValue], *, indent: int | None = None) -> str:
    """Return JSON that can be encoded: file names that are not UTF-8 are escaped, other letters stand as they are."""
    text = json.dumps(payload, indent=indent, ensure_ascii=False, allow_nan=False)
    try:
        text.encode()
    except UnicodeEncodeError:
        return json.dumps(payload, indent=indent, allow_nan=False)
    return text


def from_sealed_json(text: str, *, source: Path, error: type[TinymlError]) -> dict[str, JsonValue]:
    """Return the payload without its digest.

    Raises:
        TinymlError: Of the class `error`: the text is not JSON, carries no digest, or was changed.
    """
    try:
        payload = json.loads(text)
    except (ValueError, RecursionError) as cause:
        raise error(f"'{source}' is damaged: it is not JSON.") from cause
    digest = payload.pop(DIGEST_KEY, None) if isinstance(payload, dict) else None
    if not isinstance(digest, str) or not digest:
        raise error(f"'{source}' is damaged, or tinyml did not write it: its '{DIGEST_KEY}' is missing.")
    before, found, after = text.rpartition(digest)
    if not found or _digest(before + _BLANK + after) != digest:
        raise error(f"'{source}' was changed or damaged after it was written: its SHA-256 does not match.")
    checked: dict[str, JsonValue] = payload
    return checked


def write_sealed_json(path: Path, payload: Mapping[str, JsonValue]) -> None:
    """Write the payload atomically, with its digest.

    Raises:
        TinymlError: The place cannot be written, or the disk is full.
    """
    write_atomically(path, to_sealed_json(payload).encode())


def read_sealed_json(path: Path, *, error: type[TinymlError]) -> dict[str, JsonValue]:
    """Return the payload of a file that `write_sealed_json` wrote.

    Raises:
        TinymlError: Of the class `error`: the file is missing, unreadable, damaged or changed.
    """
    try:
        text = path.read_bytes().decode()
    except FileNotFoundError as cause:
        raise error(f"'{path}' is missing.") from cause
    except OSError as cause:
        raise error(f"'{path}' cannot be read: {cause.strerror}.") from cause
    except UnicodeDecodeError as cause:
        raise error(f"'{path}' is damaged: it is not UTF-8 text.") from cause
    return from_sealed_json(text, source=path, error=error)


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()
