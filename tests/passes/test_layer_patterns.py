import pytest

from tinyml.errors import RecipeError
from tinyml.passes.layer_patterns import LayerSparsity, check_patterns, own_settings, why_left_out

NAMES = ["stem", "block.0.conv", "block.1.conv", "head"]


@pytest.mark.parametrize("pattern", ["stem", "block.*", "*.conv", "*", "[sh]*"])
def test_a_pattern_that_matches_a_layer_is_taken(pattern: str):
    check_patterns([pattern], NAMES, of="a_pass")


def test_every_pattern_but_the_star_must_match_a_layer():
    check_patterns(["*"], [], of="a_pass")
    with pytest.raises(RecipeError) as error:
        check_patterns(["stem", "haed"], NAMES, of="a_pass")
    said = (
        "a_pass: pattern 'haed' matches no layer. Did you mean 'head'? There are stem, block.0.conv, block.1.conv, head"
    )
    assert str(error.value) == said


@pytest.mark.parametrize(
    ("include", "exclude", "reason"),
    [
        (("*",), (), ""),
        (("block.*",), (), "not in the recipe's include"),
        (("*",), ("st*",), "in the recipe's exclude"),
        (("block.*", "stem"), ("head",), ""),
    ],
    ids=["all", "not included", "excluded", "one of two"],
)
def test_a_layer_is_left_out_with_the_reason(include, exclude, reason: str):
    assert why_left_out("stem", include=include, exclude=exclude) == reason


def test_of_several_settings_the_last_that_matches_counts():
    layers = {"*": 1, "block.*": 2, "block.0.*": 3, "head": 4}
    assert [own_settings(name, layers) for name in NAMES] == [(1,), (3,), (2,), (4,)]
    assert own_settings("stem", {"head": 4}) == ()


@pytest.mark.parametrize("sparsity", [-0.1, 1.0, float("nan")])
def test_a_layers_sparsity_is_a_share_below_one(sparsity: float):
    with pytest.raises(RecipeError, match="LayerSparsity: sparsity: "):
        LayerSparsity(sparsity=sparsity)
