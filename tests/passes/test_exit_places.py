from pathlib import Path

import pytest

from tinyml.errors import RecipeError
from tinyml.graph.cut_points import CutPoint
from tinyml.passes.early_exit import EarlyExit
from tinyml.passes.exit_places import named_places, spread_places, suggested_places

CUTS = [
    CutPoint(node=f"n{i}", names=names, shape=(1,), channels_last=False, macs=20 * (i + 1), network_macs=100)
    for i, names in enumerate([("stem", "stem.relu"), ("layer1", "layer1.2"), ("layer2",), ("layer3",)])
]


def names(cuts: tuple[CutPoint, ...]) -> list[str]:
    return [cut.name for cut in cuts]


def file(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "exits.json"
    path.write_text(text)
    return path


def test_names_and_patterns_are_taken_once_and_in_the_order_of_the_network():
    assert names(named_places(CUTS, ["layer2", "layer1.2", "layer[12]"])) == ["layer1", "layer2"]


def test_a_number_is_spread_over_the_macs():
    assert names(spread_places(CUTS, 2)) == ["layer1", "layer2"]  # 40 and 60 of 100, nearest to 33 and 67


def test_the_best_of_a_file_are_taken_and_stand_in_the_order_of_the_network(tmp_path):
    path = file(tmp_path, '{"places": ["layer3", "stem", "stem.relu", "layer1"], "k": 30}')
    assert names(suggested_places(CUTS, 2, path)) == ["stem", "layer3"]
    assert names(suggested_places(CUTS, 3, path)) == ["stem", "layer1", "layer3"]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        pytest.param("{", r"exits.json' is not of the form .*layer2", id="no JSON"),
        pytest.param('{"exits": []}', r"is not of the form .*: Field required", id="another file"),
        pytest.param(
            '{"places": ["layer9"]}', "exits.json': 'layer9' is no place for an exit. Did you mean 'layer3'", id="name"
        ),
        pytest.param('{"places": ["stem"]}', "2 exits are asked for; '.*' has 1 places: stem", id="too few"),
    ],
)
def test_a_file_that_is_of_no_use_is_refused_with_the_reason(tmp_path, text, said):
    with pytest.raises(RecipeError, match=said):
        suggested_places(CUTS, 2, file(tmp_path, text))


def test_a_file_that_is_missing_is_named(tmp_path):
    with pytest.raises(RecipeError, match=r"none.json' cannot be read: No such file"):
        suggested_places(CUTS, 1, tmp_path / "none.json")


@pytest.mark.parametrize(
    ("given", "near"),
    [("stem.rel", "'stem'"), ("my.stem.relu.1", "'stem.relu', which is 'stem'")],
    ids=["nearer to a name that is not listed", "near to no name that is listed"],
)
def test_the_place_that_is_suggested_is_one_of_the_list(given: str, near: str):
    with pytest.raises(RecipeError, match=rf"Did you mean {near}\? There are stem, layer1, layer2, layer3$"):
        named_places(CUTS, [given])


def test_two_names_of_one_place_are_refused():
    with pytest.raises(RecipeError, match=r"'layer1\.2' and 'layer1' are one place: leave one of them out"):
        named_places(CUTS, ["layer1.2", "layer1"])


def test_a_name_that_is_given_twice_is_refused():
    with pytest.raises(RecipeError, match="exits names 'layer1' twice"):
        EarlyExit(exits=("layer1", "layer2", "layer1"))


def test_names_beside_a_file_are_refused():
    with pytest.raises(RecipeError, match="give a number of exits beside it"):
        EarlyExit(exits=("layer1",), places=Path("exits.json"))
