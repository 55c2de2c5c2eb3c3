"""Which choices nothing else beats: no other one costs less and is worth more."""

from collections.abc import Sequence


def pareto_front(points: Sequence[tuple[float, float]]) -> list[int]:
    """Return the indices of the points that no other one dominates, by rising cost.

    A point (cost, worth) dominates another if it costs no more and is worth no less, and is better in one of both.
    Equal points do not dominate each other.
    """
    by_cost = sorted(range(len(points)), key=lambda index: (points[index][0], -points[index][1], index))
    front: list[int] = []
    for index in by_cost:
        if not front or points[index][1] > points[front[-1]][1] or points[index] == points[front[-1]]:
            front.append(index)
    return front
