"""How names out of a file are shown in a message: on one line, escaped, and not too many of them."""

from collections.abc import Sequence


def printable(text: str) -> str:
    """Return a text from a file, safe to put in a one-line message: escapes shown, at most 80 characters."""
    shown = repr(text)[1:-1]
    return shown if len(shown) <= 80 else shown[:77] + "..."


def listed(names: Sequence[str], *, at_most: int = 8) -> str:
    """Return "'a', 'b' and 3 more"."""
    shown = ", ".join(f"'{printable(name)}'" for name in names[:at_most])
    return shown if len(names) <= at_most else f"{shown} and {len(names) - at_most} more"
