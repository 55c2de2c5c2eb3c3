"""Numbers as a reader wants them: three digits, a unit, and a word for the direction of a change."""

from collections.abc import Callable
from typing import Final

_BINARY_STEPS: Final = ((2**30, "GiB"), (2**20, "MiB"), (2**10, "KiB"))
_DECIMAL_STEPS: Final = ((1e9, "G"), (1e6, "M"))
_EXACT_BELOW: Final = 10_000_000
_MANY_EXAMPLES: Final = 1000  # from here on a hundredth of a point is worth printing


def significant(value: float, digits: int = 3) -> str:
    """Return the value to that many significant digits, never in scientific notation: "1,230", "12.3", "0.0123"."""
    if value == 0:
        return "0"
    places = digits - 1 - int(f"{value:e}".partition("e")[2])
    return f"{round(value, places):,.{max(places, 0)}f}"


def bytes_text(value: float) -> str:
    """Return "512 B", "1.50 KiB", "1.05 MiB"."""
    for step, unit in _BINARY_STEPS:
        if value >= step:
            return f"{significant(value / step)} {unit}"
    return f"{significant(value)} B" if value % 1 else f"{value:.0f} B"


def count_text(value: float) -> str:
    """Return "269,722" in full, and from ten millions on "40.6 M", "1.82 G"."""
    if value < _EXACT_BELOW:
        return f"{value:,.0f}"
    step, unit = next((step, unit) for step, unit in _DECIMAL_STEPS if value >= step)
    return f"{significant(value / step)} {unit}"


def milliseconds_text(value: float) -> str:
    """Return "1.23 ms", or microseconds below a tenth of a millisecond: "85.0 µs"."""
    return f"{significant(value)} ms" if value >= 0.1 else f"{significant(value * 1000)} µs"


def share_text(value: float, n: int | None = None) -> str:
    """Return a share (0-1) in percent: "91.0 %", and with 1,000 examples or more "87.66 %"."""
    return f"{value * 100:.{share_digits(n)}f} %"


def share_digits(n: int | None) -> int:
    """Return the decimals of a percentage that `n` examples are worth."""
    return 2 if n is not None and n >= _MANY_EXAMPLES else 1


def number_text(value: float, unit: str, n: int | None = None) -> str:
    """Return the value with its unit, for the units of a Measurement; an unknown unit is written behind the number."""
    if unit == "share":
        return share_text(value, n)
    texts: dict[str, Callable[[float], str]] = {
        "bytes": bytes_text,
        "ms": milliseconds_text,
        "MACs": count_text,
        "parameters": count_text,
        "x": lambda ratio: f"{ratio:.2f}x",
    }
    return texts[unit](value) if unit in texts else f"{significant(value)} {unit}".rstrip()


def range_text(low: float, high: float, unit: str, n: int | None = None) -> str:
    """Return two values of one unit, which is written once where both have it: "86.7-88.5 %"."""
    first, second = number_text(low, unit, n), number_text(high, unit, n)
    number, _, suffix = first.partition(" ")
    return f"{number} to {second}" if suffix == second.partition(" ")[2] else f"{first} to {second}"


def ratio_text(ratio: float, less: str, more: str) -> str:
    """Return "3.6x smaller" for before / after = 3.6, "1.2x larger" for 1 / 1.2, "same" where they round to equal."""
    larger = max(ratio, 1 / ratio)
    if round(larger, 2) == 1:
        return "same"
    digits = 2 if larger < 2 else 1
    return f"{larger:.{digits}f}x {less if ratio > 1 else more}"


def points_text(difference: float, n: int | None = None) -> str:
    """Return a difference of shares in percentage points, with its sign: "-0.20 points"."""
    text = f"{difference * 100:+.{share_digits(n)}f}"
    return f"{'0' if float(text) == 0 else text} points"
