"""A recipe in a few words: its passes, each with its first setting and those that are not what they usually are."""

import json
from collections.abc import Mapping
from dataclasses import MISSING, Field, fields
from pathlib import Path
from typing import Any, Final

from pydantic_core import to_jsonable_python

from tinyml.errors import RecipeError
from tinyml.passes import PASSES
from tinyml.yaml_file import read_document
from tinyml.yaml_syntax import JSON

_UNSET: Final = object()
_SHORT: Final = 24


def passes_in_short(file: Path) -> tuple[str, ...]:
    """Return the passes of a resolved recipe: ("weight_pruning sparsity=0.7", "fine_tuning epochs=15 freeze").

    A setting that holds many values is only named, and so is a pass of a Python program, which PASSES does not know.

    Raises:
        RecipeError: the file is missing or is no recipe.
    """
    document = read_document(file, error=RecipeError)
    document.raise_faults()
    entries = document.value.get("passes", []) if isinstance(document.value, dict) else None
    if not isinstance(entries, list):
        raise RecipeError(f"'{file}' is no recipe: it has no list of passes")
    return tuple(_in_short(entry) for entry in entries)


def _in_short(entry: JSON) -> str:
    """Return one pass with its settings."""
    if not isinstance(entry, dict) or len(entry) != 1:
        return str(entry)
    name, settings = next(iter(entry.items()))
    if name not in PASSES or not isinstance(settings, dict):
        return name
    usual = {field.name: _usual(field) for field in fields(PASSES[name])}
    return " ".join([name, *(_setting(key, value) for key, value in _changed(settings, usual).items())])


def _changed(settings: Mapping[str, JSON], usual: Mapping[str, object]) -> dict[str, JSON]:
    """Return the first setting, which says most, and those that differ from what they usually are."""
    first = next(iter(usual), None)
    told = {key: value for key, value in settings.items() if key == first or value != usual.get(key, _UNSET)}
    return {key: value for key, value in told.items() if value is not None}


def _usual(field: "Field[Any]") -> object:
    """Return a field's default as JSON; what nothing equals where it has none."""
    if field.default_factory is not MISSING:
        return to_jsonable_python(field.default_factory())
    return _UNSET if field.default is MISSING else to_jsonable_python(field.default)


def _setting(key: str, value: JSON) -> str:
    """Return "sparsity=0.7"; the key alone for what is on, or holds more than is short."""
    written = json.dumps(value, separators=(",", ":")).replace('"', "")
    return key if value is True or len(written) > _SHORT else f"{key}={written}"
