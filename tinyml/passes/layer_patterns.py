"""Which layers a pass touches: glob patterns of module names, `include`, `exclude`, and settings of their own."""

from collections.abc import Iterable, Mapping, Sequence
from fnmatch import fnmatchcase
from typing import TypeVar

from tinyml.errors import RecipeError, did_you_mean

SHOWN = 8
Settings = TypeVar("Settings")


def check_patterns(patterns: Iterable[str], names: Sequence[str], *, of: str) -> None:
    """Refuse a pattern that matches no layer; '*' matches also where there is none.

    Args:
        patterns: of the recipe.
        names: of the layers that the pass could touch.
        of: name of the pass.

    Raises:
        RecipeError: with the nearest name and the layers that there are.
    """
    for pattern in patterns:
        if pattern != "*" and not any(fnmatchcase(name, pattern) for name in names):
            shown = ", ".join(names[:SHOWN]) + (f" and {len(names) - SHOWN} more" if len(names) > SHOWN else "")
            raise RecipeError(
                f"{of}: pattern '{pattern}' matches no layer.{did_you_mean(pattern, names)} The layers are {shown}"
            )


def why_left_out(name: str, *, include: Sequence[str], exclude: Sequence[str]) -> str:
    """Return why the recipe leaves the layer out, or "" where it does not."""
    if not any(fnmatchcase(name, pattern) for pattern in include):
        return "not in the recipe's include"
    return "in the recipe's exclude" if any(fnmatchcase(name, pattern) for pattern in exclude) else ""


def own_settings(name: str, layers: Mapping[str, Settings]) -> tuple[Settings, ...]:
    """Return the settings of the last pattern that matches the layer, alone; nothing where none matches."""
    return tuple(settings for pattern, settings in layers.items() if fnmatchcase(name, pattern))[-1:]
