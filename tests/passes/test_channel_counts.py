from collections.abc import Mapping

import pytest
import torch

from tinyml.graph.channel_groups import ChannelGroup
from tinyml.passes.channel_counts import Allotment, Counts, Scope, best_channels


def group(name: str, channels: int, width: int = 1) -> ChannelGroup:
    return ChannelGroup(name=name, channels=channels, width=width, slices=())


def allotment(
    *groups: ChannelGroup,
    scope: Scope = "uniform",
    multiple: int = 1,
    minimum: int = 1,
    fixed: Mapping[str, float] | None = None,
    scores: Mapping[str, list[float]] | None = None,
) -> Allotment:
    tensors = {name: torch.tensor(values) for name, values in (scores or {}).items()}
    return Allotment(
        groups=groups, scores=tensors, scope=scope, fixed=fixed or {}, multiple=multiple, minimum=minimum
    )  # fmt: skip


@pytest.mark.parametrize(("channels", "kept"), [(64, 45), (128, 90), (256, 179), (512, 358)])
def test_uniform_is_the_formula_of_the_lab(channels: int, kept: int):
    assert allotment(group("a", channels)).counts(0.3) == {"a": kept}


@pytest.mark.parametrize(
    ("channels", "width", "multiple", "kept"),
    [(64, 1, 8, 48), (128, 1, 8, 88), (16, 1, 8, 8), (8, 1, 8, 8), (12, 1, 8, 8), (8, 4, 8, 6), (10, 3, 8, 8)],
    ids=["45 -> 48", "90 -> 88", "11 -> 8", "all of 8", "8 of 12", "6 x 4 = 24", "7 -> 8, 8 x 3 = 24"],
)
def test_counts_are_rounded_to_the_nearest_multiple(channels: int, width: int, multiple: int, kept: int):
    assert allotment(group("a", channels, width), multiple=multiple).counts(0.3) == {"a": kept}


@pytest.mark.parametrize(("minimum", "kept"), [(1, 1), (6, 6), (99, 20)])
def test_so_many_channels_stay_at_least(minimum: int, kept: int):
    assert allotment(group("a", 20), minimum=minimum).counts(0.99) == {"a": kept}


def test_a_group_with_a_sparsity_of_its_own_takes_no_other():
    assert allotment(group("a", 10), group("b", 10), fixed={"b": 0.8}).counts(0.3) == {"a": 7, "b": 2}


def test_global_takes_the_lowest_scores_of_all_groups():
    ranked = allotment(group("a", 4), group("b", 4), scope="global", scores={"a": [1, 2, 3, 4], "b": [5.0, 6, 7, 0]})
    assert ranked.counts(0.5) == {"a": 1, "b": 3}


def size(counts: Counts) -> float:
    """A network of two layers, a (1 x a) and b (a x b), of 10 channels each."""
    return (counts["a"] + counts["a"] * counts["b"]) / 110


@pytest.mark.parametrize("goal", [0.2, 0.35, 0.5, 0.9])
@pytest.mark.parametrize("multiple", [1, 2, 4])
def test_a_goal_is_met_and_no_group_could_keep_its_next_multiple(goal: float, multiple: int):
    found = allotment(group("a", 10), group("b", 10), multiple=multiple)
    counts = found.meet(size, goal)
    assert size(counts) <= goal
    for name, count in counts.items():
        larger = [next_one for next_one in (*range(multiple, 10, multiple), 10) if next_one > count]
        assert not larger or size({**counts, name: larger[0]}) > goal


def test_a_goal_out_of_reach_gives_the_smallest_counts():
    assert allotment(group("a", 10), group("b", 10), multiple=4).meet(size, 0.01) == {"a": 4, "b": 4}


def test_a_goal_of_everything_keeps_everything():
    assert allotment(group("a", 10), group("b", 10)).meet(size, 1.0) == {"a": 10, "b": 10}


def test_the_best_channels_stay_in_their_order_and_of_equal_ones_the_first():
    assert best_channels(torch.tensor([1.0, 3, 2, 3, 1]), 4).tolist() == [0, 1, 2, 3]
