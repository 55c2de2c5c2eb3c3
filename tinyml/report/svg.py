"""Small pieces of SVG: text, boxes, paths, axes, and the frame and colours that all figures share.

A figure names its colours by CSS class, so that one style sheet, which stands once in the page, serves light and dark.
"""

import math
from collections.abc import Sequence
from html import escape
from typing import Final, Literal

Anchor = Literal["start", "middle", "end"]
Point = tuple[float, float]

FIGURE_STYLE: Final = """
:root { --ink: #1b2330; --muted: #5a6573; --rule: #dde2e8; --before: #98a4b3; --after: #0969b5;
  --series-1: #0969b5; --series-2: #c2510c; --series-3: #1a7f4b; --series-4: #8250b8; --series-5: #a07000;
  --series-6: #b3306a; }
@media (prefers-color-scheme: dark) { :root { --ink: #e4e9f0; --muted: #9ca8b7; --rule: #323b47; --before: #778495;
  --after: #58a9f0; --series-1: #58a9f0; --series-2: #f0965a; --series-3: #57c78a; --series-4: #bd94ea;
  --series-5: #d9b24a; --series-6: #f088b4; } }
.figure { font: 12px system-ui, -apple-system, "Segoe UI", Roboto, "DejaVu Sans", sans-serif; }
.figure text { fill: var(--ink); }
.figure text.muted { fill: var(--muted); }
.figure text.strong { font-weight: 600; }
.figure .before { fill: var(--before); }
.figure .after { fill: var(--after); }
.figure .rule { stroke: var(--rule); stroke-width: 1; fill: none; }
.figure .axis { stroke: var(--muted); stroke-width: 1; fill: none; }
.figure .line { fill: none; stroke-width: 2; stroke-linejoin: round; stroke-linecap: round; }
.figure .line.before { stroke: var(--before); fill: none; }
.figure .line.after { stroke: var(--after); fill: none; }
""" + "".join(
    f".figure .line.series-{number} {{ stroke: var(--series-{number}); }}\n"
    f".figure .dot.series-{number} {{ fill: var(--series-{number}); }}\n"
    for number in range(1, 7)
)
_CHARACTER_WIDTH: Final = 6.5  # of 12 px text, on the wide side


def number(value: float) -> str:
    """Return a coordinate to a tenth of a pixel, as short as it can be written."""
    return f"{value:.1f}".removesuffix(".0")


def text(x: float, y: float, content: str, *, css: str = "", anchor: Anchor = "start") -> str:
    """Return a line of text whose baseline is at y."""
    place = "" if anchor == "start" else f' text-anchor="{anchor}"'
    return f'<text x="{number(x)}" y="{number(y)}"{_class(css)}{place}>{escape(content)}</text>'


def box(x: float, y: float, width: float, height: float, *, css: str) -> str:
    """Return a filled rectangle."""
    size = f'width="{number(max(width, 0))}" height="{number(max(height, 0))}"'
    return f'<rect x="{number(x)}" y="{number(y)}" {size}{_class(css)}/>'


def path(points: Sequence[Point], *, css: str, closed: bool = False, dash: str = "") -> str:
    """Return a line through the points, or the area inside it."""
    steps = " ".join(f"{number(x)},{number(y)}" for x, y in points)
    dashes = f' stroke-dasharray="{dash}"' if dash else ""
    return f'<path d="M{steps}{"Z" if closed else ""}"{_class(css)}{dashes}/>' if points else ""


def titled(title: str, body: str) -> str:
    """Return the pieces as one group that shows the title when pointed at."""
    return f"<g><title>{escape(title)}</title>{body}</g>"


def figure(title: str, width: float, height: float, body: str) -> str:
    """Return the whole figure; a screen reader reads its title."""
    label = escape(title, quote=True)
    frame = f'viewBox="0 0 {number(width)} {number(height)}" style="max-width:{number(width * 1.25)}px"'
    return f'<svg class="figure" role="img" aria-label="{label}" {frame}>{body}</svg>'


def shortened(content: str, width: float) -> str:
    """Return the text, its front cut off where it is wider than `width` pixels: the end of a name tells most."""
    fits = max(int(width / _CHARACTER_WIDTH), 2)
    return content if len(content) <= fits else f"…{content[-(fits - 1) :]}"


def text_width(content: str) -> float:
    """Return about how many pixels a text is wide."""
    return len(content) * _CHARACTER_WIDTH


def round_ticks(low: float, high: float, count: int = 5) -> list[float]:
    """Return about `count` round numbers (1, 2 or 5 times a power of ten) within low-high."""
    span = high - low
    if span <= 0 or not math.isfinite(span):
        return [low]
    raw = span / count
    power = 10.0 ** math.floor(math.log10(raw))
    step = next(factor * power for factor in (1, 2, 5, 10) if factor * power >= raw * (1 - 1e-9))
    first, last = math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9)
    return [round(index * step, 12) for index in range(first, last + 1)]


def _class(css: str) -> str:
    """Return the class attribute, or nothing."""
    return f' class="{css}"' if css else ""
