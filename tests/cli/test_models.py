import json
from collections.abc import Callable

from tinyml.models import MODELS


def test_the_list_has_the_whole_zoo(tinyml: Callable[..., object]) -> None:
    assert [model["name"] for model in json.loads(tinyml("models", "--json").out)] == list(MODELS)


def test_the_table_has_names_and_shapes(tinyml: Callable[..., object]) -> None:
    line = next(line for line in tinyml("models").out.splitlines() if "resnet20-cifar" in line)
    assert "3,32,32" in line


def test_a_model_is_shown_with_its_parameters(tinyml: Callable[..., object]) -> None:
    # 3x3 convolutions: 432 + 6*2304 + 4608 + 5*9216 + 18432 + 5*36864, BatchNorms 2*(7*16 + 6*32 + 6*64), linear 650
    facts = json.loads(tinyml("models", "show", "resnet20-cifar", "--json").out)
    assert (
        facts["parameters"]
        == 432 + 6 * 2304 + 4608 + 5 * 9216 + 18432 + 5 * 36864 + 2 * (7 * 16 + 6 * 32 + 6 * 64) + 650
    )


def test_an_unknown_model_is_refused_with_the_nearest(tinyml: Callable[..., object]) -> None:
    outcome = tinyml("models", "show", "resnet20-cifa")
    assert (outcome.code, "Did you mean 'resnet20-cifar'?" in outcome.err) == (2, True)
