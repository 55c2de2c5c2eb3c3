"""What was left alone, told once for all modules that share a reason."""

from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import Final, TypeVar

from tinyml.checkpoint.wording import listed
from tinyml.graph import capture
from tinyml.report.report import LeftAlone

WHOLE: Final = "the whole network"
"""What a module without a name is called."""

_AT_MOST: Final = 6

Left = TypeVar("Left", capture.LeftAlone, LeftAlone)


def by_reason(left: Iterable[Left]) -> dict[Left, list[str]]:
    """Return the names of the modules by why they were left alone, which is an item without a module, in order."""
    found: dict[Left, list[str]] = {}
    for item in left:
        found.setdefault(replace(item, module=""), []).append(item.module)
    return found


def modules_text(names: Sequence[str]) -> str:
    """Return "'a', 'b' and 3 more"; of the network as a whole, that."""
    return WHOLE if list(names) == [""] else listed(names, at_most=_AT_MOST)
