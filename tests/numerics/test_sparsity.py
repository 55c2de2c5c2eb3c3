from itertools import pairwise

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from tinyml.numerics.sparsity import (
    NOfM,
    cubic_zeros,
    global_zeros,
    kept_n_of_m,
    kept_on_the_way,
    kept_weights,
    n_of_m_zeros,
    zero_count,
)

# Few distinct values, so that ties are the rule; -0.0 and 0.0 are a tie.
VALUES = st.sampled_from([-2.0, -1.0, -0.5, -0.0, 0.0, 0.5, 1.0, 2.0])
TENSORS = st.lists(VALUES, min_size=1, max_size=24).map(torch.tensor)


def brute_force(weight: Tensor, zeros: int) -> list[bool]:
    """The mask by Python's sort of (magnitude, index)."""
    order = sorted(range(weight.numel()), key=lambda index: (abs(weight.flatten()[index].item()), index))
    return [index not in order[:zeros] for index in range(weight.numel())]


@pytest.mark.parametrize(
    ("numel", "sparsity", "zeros"),
    [(10, 0.0, 0), (432, 0.7, 302), (10, 0.25, 2), (10, 0.35, 4), (3, 0.999, 3)],
    ids=["none", "302.4", "a half to the even 2", "a half to the even 4", "2.997"],
)
def test_zeros_are_the_rounded_share(numel: int, sparsity: float, zeros: int):
    assert zero_count(numel, sparsity) == zeros


@given(TENSORS, st.data())
def test_exactly_the_smallest_are_pruned_and_of_equal_ones_the_first(weight: Tensor, data):
    zeros = data.draw(st.integers(0, weight.numel()))
    assert kept_weights(weight, zeros).tolist() == brute_force(weight, zeros)


def test_the_flat_index_does_not_depend_on_the_memory_layout():
    weight = torch.ones(2, 3, 4, 4)
    expected = kept_weights(weight, 37)
    assert torch.equal(kept_weights(weight.contiguous(memory_format=torch.channels_last), 37), expected)
    assert not expected.flatten()[:37].any()


@pytest.mark.parametrize("pattern", [NOfM(keep=2, of=4), NOfM(keep=1, of=2), NOfM(keep=3, of=8)], ids=str)
@given(st.data())
def test_of_every_group_the_n_largest_are_kept(pattern: NOfM, data):
    weight = torch.tensor(data.draw(st.lists(VALUES, min_size=48, max_size=48))).reshape(3, 8, 2)
    kept = kept_n_of_m(weight, pattern, axis=1)
    for row in range(3):
        for place in range(2):
            for first in range(0, 8, pattern.of):
                group = (row, slice(first, first + pattern.of), place)
                assert kept[group].tolist() == brute_force(weight[group], pattern.of - pattern.keep)


def test_groups_lie_along_the_axis_that_is_named():
    weight = torch.arange(1.0, 17.0).reshape(4, 4)
    assert kept_n_of_m(weight, NOfM(keep=1, of=4), axis=0).nonzero().tolist() == [[3, column] for column in range(4)]
    assert kept_n_of_m(weight, NOfM(keep=1, of=4), axis=1).nonzero().tolist() == [[row, 3] for row in range(4)]


@given(st.lists(VALUES, min_size=32, max_size=32), st.integers(0, 16))
def test_on_the_way_to_a_pattern_the_smallest_of_its_zeros_come_first(values: list[float], zeros: int):
    weight, pattern = torch.tensor(values).reshape(4, 8), NOfM(keep=2, of=4)
    final, kept = kept_n_of_m(weight, pattern, axis=1), kept_on_the_way(weight, zeros, pattern, axis=1)
    assert int((~kept).sum()) == zeros
    assert not (~kept & final).any()
    if zeros == 16:
        assert torch.equal(kept, final)


MASKS = st.lists(st.booleans(), min_size=32, max_size=32).map(lambda values: torch.tensor(values).reshape(4, 8))


@given(st.lists(VALUES, min_size=32, max_size=32), MASKS, st.data())
def test_what_was_pruned_earlier_is_pruned_first_and_stays_pruned(values: list[float], earlier: Tensor, data):
    weight, pattern = torch.tensor(values).reshape(4, 8), NOfM(keep=2, of=4)
    pruned = int((~earlier).sum())
    zeros = data.draw(st.integers(pruned, 32))
    assert not (kept_weights(weight, zeros, earlier=earlier) & ~earlier).any()
    final = kept_n_of_m(weight, pattern, axis=1, earlier=earlier)
    assert not (final & ~earlier).any()
    due = data.draw(st.integers(pruned, int((~final).sum())))
    kept = kept_on_the_way(weight, due, pattern, axis=1, earlier=earlier)
    assert int((~kept).sum()) == due
    assert not (kept & ~earlier).any()


@given(st.lists(VALUES, min_size=32, max_size=32), MASKS)
def test_the_zeros_of_a_pattern_and_of_an_earlier_mask_are_counted_ahead(values: list[float], earlier: Tensor):
    weight, pattern = torch.tensor(values).reshape(4, 8), NOfM(keep=2, of=4)
    kept = kept_n_of_m(weight, pattern, axis=1, earlier=earlier)
    assert n_of_m_zeros(earlier, pattern, axis=1) == int((~kept).sum())


def test_a_pattern_adds_zeros_only_where_an_earlier_mask_has_too_few():
    weight = torch.tensor([[1.0, 2.0, 3.0, 4.0, 1.0, 2.0, 3.0, 4.0]])
    earlier = torch.tensor([[True, False, False, False, True, True, True, False]])
    kept = kept_n_of_m(weight, NOfM(keep=2, of=4), axis=1, earlier=earlier)
    assert kept.int().tolist() == [[1, 0, 0, 0, 0, 1, 1, 0]]
    assert n_of_m_zeros(earlier, NOfM(keep=2, of=4), axis=1) == 3 + 2


@given(st.lists(TENSORS, min_size=1, max_size=4), st.data())
def test_a_global_threshold_prunes_the_smallest_of_all(weights: list[Tensor], data):
    everything = torch.cat(weights)
    zeros = data.draw(st.integers(0, everything.numel()))
    kept = torch.tensor(brute_force(everything, zeros)).split([len(weight) for weight in weights])
    counts = global_zeros(weights, zeros, most=[len(weight) for weight in weights])
    assert counts == [int((~part).sum()) for part in kept]


@given(st.lists(TENSORS, min_size=1, max_size=4), st.data())
def test_a_limit_of_one_tensor_is_kept_and_the_others_make_up_for_it(weights: list[Tensor], data):
    most = [data.draw(st.integers(0, len(weight))) for weight in weights]
    zeros = data.draw(st.integers(0, sum(most)))
    counts = global_zeros(weights, zeros, most=most)
    assert sum(counts) == zeros
    assert all(count <= limit for count, limit in zip(counts, most, strict=True))


def test_the_small_tensor_keeps_its_limit_though_all_its_weights_are_the_smallest():
    assert global_zeros([torch.full((4,), 0.1), torch.arange(1.0, 7.0)], 6, most=[3, 6]) == [3, 3]


@pytest.mark.parametrize(
    ("start", "progress", "zeros"),
    [(0, 0.0, 0), (0, 0.5, 700), (0, 1.0, 800), (400, 0.5, 750), (800, 0.25, 800), (0, 2.0, 800)],
    ids=["the start", "7/8 at half way", "the end", "from half", "nothing to do", "past the end"],
)
def test_the_ramp_is_cubic(start: int, progress: float, zeros: int):
    assert cubic_zeros(start, 800, progress) == zeros


@given(st.integers(0, 1000), st.integers(0, 1000))
def test_the_ramp_never_falls_back(start: int, more: int):
    course = [cubic_zeros(start, start + more, step / 50) for step in range(51)]
    assert all(earlier <= later for earlier, later in pairwise(course))
    assert (course[0], course[-1]) == (start, start + more)


@pytest.mark.parametrize(("keep", "of"), [(0, 4), (4, 4), (5, 4), (-1, 2)])
def test_a_pattern_keeps_something_and_not_everything(keep: int, of: int):
    with pytest.raises(ValueError, match=f"{keep}:{of} keeps nothing or everything: write N:M with 0 < N < M"):
        NOfM(keep=keep, of=of)


def test_a_pattern_knows_its_sparsity():
    assert NOfM(keep=2, of=4).sparsity == 0.5
