from collections.abc import Callable

import pytest

from tinyml.passes.latency_search import Trial, search


class Line:
    """A path whose stop i has the predicted share 1 - i / 100, as far as `last`."""

    def __init__(self, last: int = 90, first: float = 1.0) -> None:
        self.last, self.first = last, first

    def predicted(self, number: int) -> float:
        return self.first - number / 100

    def reach(self, share: float) -> int:
        return next((number for number in range(self.last) if self.predicted(number) <= share), self.last)


def searched(share: Callable[[float], float], goal: float = 0.6, path: Line | None = None) -> tuple[Trial, list[int]]:
    path, asked = path or Line(), list[int]()

    def measured(number: int) -> float:
        asked.append(number)
        return share(path.predicted(number))

    return search(path, measured, goal), asked


@pytest.mark.parametrize(
    "share",
    [lambda p: p, lambda p: 0.3 + 0.7 * p, lambda p: p**2, lambda p: p**0.3, lambda p: 1.3 * p - 0.3],
    ids=["as predicted", "a third is no layer", "faster", "much slower", "steeper"],
)
def test_a_goal_is_met_closely_in_few_measurements(share: Callable[[float], float]):
    found, asked = searched(share)
    assert 0.57 <= found.share <= 0.6
    assert len(asked) == len(set(asked)) <= 8


def test_a_true_prediction_needs_one_measurement():
    found, asked = searched(lambda p: p)
    assert (found.number, asked) == (42, [42])  # the first at most 0.975 x 0.6 = 0.585


def test_a_goal_between_two_stops_ends_at_the_faster_one():
    found, _ = searched(lambda p: 0.9 if p > 0.555 else 0.3)
    assert (found.number, found.share) == (45, 0.3)


def test_a_goal_out_of_reach_ends_at_the_paths_last_stop():
    found, asked = searched(lambda p: 0.8 + 0.2 * p)
    assert found.number == asked[-1] == 90
    assert found.share == pytest.approx(0.82)


def test_the_end_of_the_path_is_asked_before_giving_up():
    found, _ = searched(lambda p: 0.9 if p > 0.12 else 0.5)
    assert (found.number, found.share) == (88, 0.5)


def test_a_short_path_ends_at_its_last_stop():
    found, asked = searched(lambda p: p, path=Line(last=3))
    assert (found.share, asked) == (0.97, [3])


def test_a_goal_of_everything_needs_no_measurement_and_cuts_nothing():
    assert searched(lambda p: p, goal=1.0) == (Trial(number=0, predicted=1.0, share=1.0), [])


def test_where_channels_go_in_any_case_the_first_stop_may_do():
    found, _ = searched(lambda p: p, goal=0.6, path=Line(first=0.58))
    assert found.number == 0
