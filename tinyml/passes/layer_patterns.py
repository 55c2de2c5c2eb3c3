"""Which layers a pass touches: glob patterns of module names, `include`, `exclude`, and settings of their own."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Annotated, TypeVar

from pydantic import Field

from tinyml.errors import RecipeError
from tinyml.graph.name_patterns import pattern_fault
from tinyml.passes.checked_settings import check_settings

Settings = TypeVar("Settings")
Sparsity = Annotated[float, Field(ge=0, lt=1, allow_inf_nan=False)]


@dataclass(frozen=True, kw_only=True)
class LayerSparsity:
    """What may differ from layer to layer where a pass prunes: the share (0-1, not 1) that goes."""

    sparsity: Sparsity

    def __post_init__(self) -> None:
        """Refuse a share that is none; see `check_settings`."""
        check_settings(self)


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
        if pattern != "*" and (fault := pattern_fault(pattern, names, kind="layer")):
            raise RecipeError(f"{of}: {fault}")


def why_left_out(name: str, *, include: Sequence[str], exclude: Sequence[str]) -> str:
    """Return why the recipe leaves the layer out, or "" where it does not."""
    if not any(fnmatchcase(name, pattern) for pattern in include):
        return "not in the recipe's include"
    return "in the recipe's exclude" if any(fnmatchcase(name, pattern) for pattern in exclude) else ""


def own_settings(name: str, layers: Mapping[str, Settings]) -> tuple[Settings, ...]:
    """Return the settings of the last pattern that matches the layer, alone; nothing where none matches."""
    return tuple(settings for pattern, settings in layers.items() if fnmatchcase(name, pattern))[-1:]
