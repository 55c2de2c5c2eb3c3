from hypothesis import given
from hypothesis import strategies as st

from tinyml.numerics.pareto import pareto_front

POINTS = st.lists(st.tuples(st.integers(0, 5), st.integers(0, 5)), max_size=12)


def test_what_costs_more_and_is_worth_less_is_not_on_the_front():
    assert pareto_front([(3, 9), (1, 5), (2, 4), (2, 7)]) == [1, 3, 0]


@given(points=POINTS)
def test_the_front_is_what_nothing_dominates(points):
    def dominated(cost, worth):
        return any(c <= cost and w >= worth and (c, w) != (cost, worth) for c, w in points)

    assert sorted(pareto_front(points)) == [index for index, point in enumerate(points) if not dominated(*point)]
