import pytest
from torch import nn

from tinyml.graph.shared_parameters import parameter_names, shared_parameters


def names(module: nn.Module, *, every_place: bool) -> list[list[str]]:
    return list(parameter_names(module, every_place=every_place).values())


def test_tied_weights_have_a_name_in_each_layer() -> None:
    first, second = nn.Linear(2, 2, bias=False), nn.Linear(2, 2, bias=False)
    second.weight = first.weight
    assert names(nn.Sequential(first, second), every_place=False) == [["0.weight", "1.weight"]]


@pytest.mark.parametrize(
    ("every_place", "expected"), [(False, [["0.weight"]]), (True, [["0.weight", "2.weight"]])], ids=["once", "each"]
)
def test_a_layer_in_two_places_counts_once_or_for_each(every_place: bool, expected: list[list[str]]) -> None:
    layer = nn.Linear(2, 2, bias=False)
    assert names(nn.Sequential(layer, nn.ReLU(), layer), every_place=every_place) == expected


def test_the_network_itself_has_names_without_a_path() -> None:
    assert names(nn.Linear(2, 2), every_place=True) == [["weight"], ["bias"]]


def test_a_tied_weight_is_shared_under_each_of_its_names_and_a_repeated_module_is_not() -> None:
    layer = nn.Linear(2, 2)
    module = nn.Sequential(layer, nn.Linear(2, 2), layer)
    module[1].weight = layer.weight
    assert shared_parameters(module) == {"0.weight", "1.weight"}
