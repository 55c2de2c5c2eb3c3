"""Settings made in Python are checked like those of a recipe."""

from dataclasses import fields
from functools import cache
from typing import Any, get_type_hints

from pydantic import TypeAdapter, ValidationError

from tinyml.errors import RecipeError


def check_settings(settings: object) -> None:
    """Give every field of a frozen dataclass the value that its annotation makes of what it was given.

    Raises:
        RecipeError: naming every field whose value is not allowed.
    """
    faults = []
    for name, adapter in _adapters(type(settings)).items():  # type: ignore[arg-type]  # a class can be hashed
        value = getattr(settings, name)
        try:
            object.__setattr__(settings, name, adapter.validate_python(value))
        except ValidationError as error:
            message = error.errors()[0]["msg"]
            faults.append(f"{name}: {value!r}: {message[:1].lower()}{message[1:]}")
    if faults:
        raise RecipeError(f"{type(settings).__name__}: {'; '.join(faults)}")


@cache
def _adapters(kind: type[Any]) -> dict[str, TypeAdapter[Any]]:
    """Return what checks each field of a dataclass."""
    hints = get_type_hints(kind, include_extras=True)
    return {each.name: TypeAdapter(hints[each.name]) for each in fields(kind)}
