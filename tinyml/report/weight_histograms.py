"""Small multiples of a layer's weights: before above after, on one scale of values and of shares."""

from collections.abc import Sequence
from typing import Final

from tinyml.analysis.weights import HistogramPair, WeightHistogram
from tinyml.report.svg import Point, figure, path, shortened, text, titled
from tinyml.report.units import significant

_WIDTH: Final = 250.0
_PANEL: Final = 52.0
_TOP: Final = 24.0
_CAPTION: Final = 16.0
_BELOW: Final = 18.0
_GAP: Final = 8.0
_FEW_VALUES: Final = 256  # what 8 bits tell apart; of more, the number of weights tells as much
_MANY_ZEROS: Final = 0.15  # a bar of zeros higher than this hides the shape of all others
_ROOM: Final = 1.2


def weight_histogram(pair: HistogramPair) -> str:
    """Return the figure of one layer.

    Zeros that a pass has set make a bar far above all others; it is cut off at the top; the caption has its share.
    """
    sides = (pair.before, pair.after)
    shares = [_shares(side) for side in sides]
    top = max((_highest(side, share, pair.edges) for side, share in zip(sides, shares, strict=True)), default=0) or 1.0
    first, second = _TOP + _CAPTION, _TOP + 2 * _CAPTION + _PANEL + _GAP
    body = text(0, 14, shortened(pair.name, _WIDTH), css="strong")
    body += _panel("before", pair.before, shares[0], top, first) + _panel("after", pair.after, shares[1], top, second)
    bottom = second + _PANEL
    return figure(
        f"Weights of {pair.name}", _WIDTH, bottom + _BELOW, titled(pair.name, body) + _axis(pair.edges, bottom)
    )


def single_histogram(pair: HistogramPair) -> str:
    """Return the figure of one layer of one network, the `after` of the pair; zeros as in `weight_histogram`."""
    shares = _shares(pair.after)
    top = _highest(pair.after, shares, pair.edges) or 1.0
    body = text(0, 14, shortened(pair.name, _WIDTH), css="strong")
    body += _panel("after", pair.after, shares, top, _TOP + _CAPTION, caption=_facts(pair.after))
    bottom = _TOP + _CAPTION + _PANEL
    return figure(
        f"Weights of {pair.name}", _WIDTH, bottom + _BELOW, titled(pair.name, body) + _axis(pair.edges, bottom)
    )


def _shares(side: WeightHistogram) -> list[float]:
    """Return the share of the layer's weights in each bin, so that layers of different sizes compare."""
    return [count / max(side.weights, 1) for count in side.counts]


def _highest(side: WeightHistogram, shares: Sequence[float], edges: Sequence[float]) -> float:
    """Return the highest bar that the scale has to show."""
    if side.zeros < _MANY_ZEROS:
        return max(shares, default=0.0)
    bins = zip(shares, edges[:-1], edges[1:], strict=False)
    others = [share for share, low, high in bins if not low <= 0 <= high]
    return _ROOM * max(others, default=0.0) or max(shares, default=0.0)


def _panel(
    role: str, side: WeightHistogram, shares: Sequence[float], top: float, y: float, *, caption: str = ""
) -> str:
    """Return one side: its caption, by itself with its role, and its bars as one shape standing on y + _PANEL."""
    caption = text(0, y - 4, caption or f"{role}: {_facts(side)}", css="muted")
    floor = y + _PANEL
    base = path([(0, floor), (_WIDTH, floor)], css="axis")
    if not shares:
        return caption + base
    width = _WIDTH / len(shares)
    outline: list[Point] = [(0, floor)]
    for index, share in enumerate(shares):
        height = floor - min(share / top, 1) * _PANEL
        outline += [(index * width, height), ((index + 1) * width, height)]
    return caption + path([*outline, (_WIDTH, floor)], css=role, closed=True) + base


def _facts(side: WeightHistogram) -> str:
    """Return "int8, 255 values, 3 % zeros" or "float32, 9,216 weights, 0 % zeros", or that there is no such layer."""
    if not side.stored:
        return "no such layer"
    few = side.distinct <= _FEW_VALUES
    size = f"{side.distinct} values" if few else f"{side.weights:,} weights"
    return f"{side.stored}, {size}, {_percent(side.zeros)} zeros"


def _percent(share: float) -> str:
    """Return a share in percent, told apart from none and from all."""
    if 0 < share < 0.01:
        return "<1 %"
    return f"{int(share * 100) if share > 0.99 else round(share * 100)} %"


def _axis(edges: Sequence[float], y: float) -> str:
    """Return the lowest and highest value, and where zero is."""
    low, high = edges[0], edges[-1]
    ends = text(0, y + 14, significant(low, 2), css="muted")
    ends += text(_WIDTH, y + 14, significant(high, 2), css="muted", anchor="end")
    place = -low / (high - low)
    if not 0.2 < place < 0.8:
        return ends
    zero = place * _WIDTH
    return ends + path([(zero, y), (zero, y + 4)], css="axis") + text(zero, y + 14, "0", css="muted", anchor="middle")
