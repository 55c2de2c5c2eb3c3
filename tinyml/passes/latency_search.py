"""Find the slowest stop of a path that is fast enough, by measuring few of them.

With a stop's predicted share p and measured share m, the next one to measure is the first with a predicted share of

    p = p_a - (p_a - p_b) (m_a - t) / (m_a - m_b)        t a little below the goal

between the nearest measured stops above (a) and below (b) the goal, at first (1, 1) and (0, 0).
"""

import sys
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, Protocol, final

Measured = Callable[[int], float]
"""Returns the measured share of the stop with this number."""

_CLOSE: Final = 0.95  # a share between this part of the goal and the goal is close enough
_AIM: Final = 0.975
_TRIALS: Final = 8  # stops measured at most
_GUIDED: Final = 4  # of them by the formula; then the middle is taken, or the path's end where none was fast enough


@final
@dataclass(frozen=True, kw_only=True)
class Trial:
    """A stop that was measured.

    Attributes:
        number: of the stop.
        predicted: its share of the latency by the table.
        share: its measured share.
    """

    number: int
    predicted: float
    share: float


class Predicted(Protocol):
    """A path of stops whose predicted share falls."""

    def reach(self, share: float) -> int:
        """Return the number of the first stop of at most this predicted share, of the last one where there is none."""
        ...

    def predicted(self, number: int) -> float:
        """Return the predicted share of a stop that was reached."""
        ...


_BEFORE: Final = Trial(number=-1, predicted=1.0, share=1.0)
_BEYOND: Final = Trial(number=sys.maxsize, predicted=0.0, share=0.0)


def search(path: Predicted, measured: Measured, goal: float) -> Trial:
    """Return the slowest stop found whose share is at most the goal; the path's last where not even that one is."""
    above, below = _BEFORE, _BEYOND
    if path.predicted(0) == 1:  # nothing is cut there, and nothing needs measuring
        whole = Trial(number=0, predicted=1.0, share=1.0)
        above, below = (whole, below) if goal < 1 else (above, whole)
    for done in range(_TRIALS):
        if below.share >= _CLOSE * goal:
            break
        number = _next(path, above, below, goal, done)
        if number == above.number:
            break
        trial = Trial(number=number, predicted=path.predicted(number), share=measured(number))
        above, below = (trial, below) if trial.share > goal else (above, trial)
    return above if below is _BEYOND else below


def _next(path: Predicted, above: Trial, below: Trial, goal: float, done: int) -> int:
    """Return the stop to measure next, or `above`'s where none is left between the two."""
    if below.number - above.number <= 1:
        return above.number
    if done < _GUIDED:
        rise = (above.predicted - below.predicted) / (above.share - below.share)
        wanted = path.reach(above.predicted - rise * (above.share - _AIM * goal))
    elif below is _BEYOND:
        wanted = path.reach(0.0)
    else:
        wanted = (above.number + below.number) // 2
    return wanted if below is _BEYOND else min(max(wanted, above.number + 1), below.number - 1)
