import pytest
import torch
from torch import nn

from tinyml.graph.channel_dependencies import Place
from tinyml.graph.channel_layers import Unsuited
from tinyml.graph.channel_units import Index, group_of, largest_units, single_positions, smaller_counts

MODEL = nn.Sequential(nn.Linear(3, 12), nn.Linear(12, 24))
PLACES = (Place(name="0", side="output"), Place(name="1", side="output"))


def test_coarser_channels_take_the_same_place_of_every_stretch():
    index = next(smaller_counts(single_positions(MODEL, PLACES), 4))
    assert index[PLACES[0]].tolist() == [[0, 4, 8], [1, 5, 9], [2, 6, 10], [3, 7, 11]]
    assert index[PLACES[1]][0].tolist() == [0, 4, 8, 12, 16, 20]


def test_counts_are_tried_from_the_largest_down_to_two():
    assert [len(index[PLACES[0]]) for index in smaller_counts(single_positions(MODEL, PLACES), 12)] == [12, 6, 4, 3, 2]


@pytest.mark.parametrize(("works", "largest"), [(1, 1), (2, 2), (3, 3), (4, 4), (6, 6), (12, 12)])
def test_the_climb_ends_at_the_most_channels_that_can_be_renamed(works: int, largest: int):
    def renames(index: Index) -> bool:
        return works % len(index[PLACES[0]]) == 0

    assert largest_units(single_positions(MODEL, PLACES), renames) == largest


def test_a_group_is_named_by_the_first_layer_that_makes_its_channels():
    index = {PLACES[1]: torch.arange(24).reshape(12, 2), PLACES[0]: torch.arange(12).reshape(12, 1)}
    group = group_of(MODEL, index, ())
    assert group is not None
    assert (group.name, group.channels, group.width) == ("0", 12, 1)


def test_positions_of_another_group_are_refused():
    first = group_of(MODEL, {PLACES[0]: torch.arange(6).reshape(6, 1)}, ())
    assert first is not None
    with pytest.raises(Unsuited, match="belong to other channels"):
        group_of(MODEL, {PLACES[0]: torch.arange(5, 9).reshape(4, 1)}, (first,))
