"""Glob patterns of module names ("conv1", "layer[12].*"), and what is wrong with one that matches nothing."""

from collections.abc import Sequence
from fnmatch import fnmatchcase

from tinyml.errors import did_you_mean

SHOWN = 8


def pattern_fault(pattern: str, names: Sequence[str], *, kind: str) -> str:
    """Return why the pattern is of no use, with the nearest name and the names that there are; "" where it matches.

    Args:
        pattern: of a recipe or an option.
        names: what it may match.
        kind: what bears these names, one of them: "layer".
    """
    if any(fnmatchcase(name, pattern) for name in names):
        return ""
    shown = ", ".join(names[:SHOWN]) + (f" and {len(names) - SHOWN} more" if len(names) > SHOWN else "")
    return f"pattern '{pattern}' matches no {kind}.{did_you_mean(pattern, names)} There are {shown or 'none'}"
