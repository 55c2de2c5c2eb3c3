"""Horizontal bars of one cost per layer, before above after; one bar where the two are equal, or where there is one."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final, final

from tinyml.report.svg import box, figure, shortened, text, titled

_WIDTH: Final = 460.0
_NAMES: Final = 132.0
_VALUES: Final = 74.0
_BARS: Final = _WIDTH - _NAMES - _VALUES
_TOP: Final = 30.0
_PITCH: Final = 22.0
_THICK: Final = 7.0


@final
@dataclass(frozen=True, kw_only=True)
class LayerBar:
    """One layer's cost before and after; None where it is not known."""

    name: str
    before: float | None
    after: float | None

    @property
    def same(self) -> bool:
        """Whether nothing changed."""
        return self.before == self.after


def layer_bars(
    title: str, bars: Sequence[LayerBar], written: Callable[[float], str], *, compared: bool = True, of: str = "layer"
) -> str:
    """Return the figure, or "" where no value is known.

    Args:
        title: what is drawn: "MACs".
        bars: in the order of the network.
        written: a value as text.
        compared: whether there is a before at all; else only `after` is drawn and told.
        of: what a bar stands for.
    """
    known = [value for bar in bars for value in (bar.before, bar.after) if value is not None]
    if not known:
        return ""
    largest = max(known) or 1.0
    rows = [_row(bar, _TOP + index * _PITCH, largest, written, compared) for index, bar in enumerate(bars)]
    height = _TOP + len(bars) * _PITCH
    head = _head(title, bars) if compared else text(0, 14, title, css="strong")
    return figure(f"{title} per {of}", _WIDTH, height, head + "".join(rows))


def _head(title: str, bars: Sequence[LayerBar]) -> str:
    """Return the title and the legend."""
    head = text(0, 14, title, css="strong")
    right = _WIDTH
    if all(bar.same for bar in bars):
        return head + text(right, 14, "the same before and after", css="muted", anchor="end")
    legend = text(right, 14, "after", anchor="end") + box(right - 42, 5, 10, 10, css="after")
    return head + legend + text(right - 54, 14, "before", anchor="end") + box(right - 104, 5, 10, 10, css="before")


def _row(bar: LayerBar, y: float, largest: float, written: Callable[[float], str], compared: bool) -> str:
    """Return one layer's name, bars and value; pointed at, it tells both values."""
    middle = y + _PITCH / 2
    name = text(_NAMES - 8, middle + 4, shortened(bar.name, _NAMES - 8), anchor="end")
    if bar.same or not compared:
        drawn = _bar(bar.after, middle - _THICK / 2 - 1, _THICK + 2, largest, "after")
    else:
        drawn = _bar(bar.before, middle - _THICK - 0.5, _THICK, largest, "before")
        drawn += _bar(bar.after, middle + 0.5, _THICK, largest, "after")
    sides = _sides(bar) if compared else (("", bar.after),)
    said = [f"{side} {'not known' if value is None else written(value)}".lstrip() for side, value in sides]
    shown = "-" if bar.after is None else written(bar.after)
    return titled(f"{bar.name}: {', '.join(said)}", name + drawn + text(_WIDTH, middle + 4, shown, anchor="end"))


def _sides(bar: LayerBar) -> tuple[tuple[str, float | None], ...]:
    """Return the names of the sides with their values."""
    return (("before", bar.before), ("after", bar.after))


def _bar(value: float | None, y: float, thick: float, largest: float, css: str) -> str:
    """Return one bar; a value above zero is at least a pixel long."""
    if not value:
        return ""
    return box(_NAMES, y, max(value / largest * (_BARS - 8), 1), thick, css=css)
