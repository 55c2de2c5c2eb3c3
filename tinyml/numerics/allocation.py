"""One level for each of several items, so that the losses add up to the least within a total size.

    minimise    sum_i loss[i, level_i]        subject to    sum_i size[i, level_i] <= most
    best_i[s] = min over l of  best_{i-1}[s - size[i, l]] + loss[i, l]

That is the multiple-choice knapsack (Sinha and Zoltners 1979, Operations Research 27(3)), solved by dynamic programming
over sizes (Kellerer, Pferschy and Pisinger 2004, "Knapsack Problems", chapter 11). One table answers the question the
other way round, too: the least size of a loss. Sizes count from the smallest of their item, in units: of 1 where the
totals span at most 65,536, so that the choice is exact; else each is rounded up, and no total passes what is allowed.
"""

from collections.abc import Sequence
from typing import Final, final

import numpy as np

MOST_UNITS: Final = 2**16


@final
class Allocations:
    """The best choice of levels for every total size.

    Attributes:
        smallest: total of the smallest size of every item.
        unit: what sizes are rounded up to, above the smallest of their item.
    """

    def __init__(self, sizes: Sequence[Sequence[int]], losses: Sequence[Sequence[float]]) -> None:
        """Fill the table from size and finite loss of each level of each item."""
        self.smallest = sum(map(min, sizes))
        spread = sum(max(each) - min(each) for each in sizes)
        self.unit = max(1, -(-spread // MOST_UNITS))
        self._steps = [[-(-(size - min(each)) // self.unit) for size in each] for each in sizes]
        width = 1 + sum(map(max, self._steps))
        self._chosen = np.zeros((len(sizes), width), np.int16)
        self._best = np.zeros(width)
        for chosen, steps, loss in zip(self._chosen, self._steps, losses, strict=True):
            before, self._best = self._best, np.full(width, np.inf)
            for level, (step, lost) in enumerate(zip(steps, loss, strict=True)):
                total = before[: width - step] + lost
                better = total < self._best[step:]
                chosen[step:][better] = level
                self._best[step:][better] = total[better]

    @property
    def least_loss(self) -> float:
        """The least total loss of any choice."""
        return float(self._best[-1])

    def within_size(self, most: int) -> tuple[int, ...] | None:
        """Return the index of each item's level, of the least loss within the size; None where nothing is so small."""
        allowed = (most - self.smallest) // self.unit
        if allowed < 0:
            return None
        return self._levels(float(self._best[min(allowed, len(self._best) - 1)]))

    def within_loss(self, most: float) -> tuple[int, ...] | None:
        """Return the index of each item's level, of the least size within the loss; None where nothing loses so little.

        Losses are added in the order of the items.
        """
        return self._levels(most) if self.least_loss <= most else None

    def _levels(self, loss: float) -> tuple[int, ...]:
        """Return the levels of the smallest choice that loses no more."""
        place = int(np.argmax(self._best <= loss))
        levels = []
        for chosen, steps in zip(reversed(self._chosen), reversed(self._steps), strict=True):
            levels.append(int(chosen[place]))
            place -= steps[levels[-1]]
        return tuple(reversed(levels))
