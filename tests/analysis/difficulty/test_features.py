"""Features in groups that fit into memory together."""

from hypothesis import given
from hypothesis import strategies as st
from random_task import random_task

from tinyml.analysis.difficulty.features import groups_of
from tinyml.analysis.difficulty.places import Place

IMAGES = 64
TASK = random_task((3,), images=IMAGES)


def places(features: list[int]) -> list[Place]:
    return [Place(name=str(order), layers=(), features=own, order=order) for order, own in enumerate(features)]


@given(st.lists(st.integers(1, 50), min_size=1, max_size=12), st.integers(100, 300))
def test_a_group_and_the_copy_of_any_of_its_places_fit_and_the_next_place_would_not(raw: list[int], room: int) -> None:
    groups = groups_of(places(raw), TASK, 4 * IMAGES * room)
    sizes = [[place.features for place in group] for group in groups]
    assert [features for own in sizes for features in own] == raw
    assert all(sum(own) + max(own) <= room for own in sizes)  # all examples are of train
    following = [own[0] for own in sizes[1:]]
    assert all(sum(own) + one + max(*own, one) > room for own, one in zip(sizes, following, strict=False))
