"""What `tinyml sensitivity` and `tinyml difficulty` say of the network and the data that they are given."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

Run = Callable[..., Any]

OPTIONS = ("--model", "lenet-digits", "--data", "digits")
VERBS = [
    pytest.param(["sensitivity", "--pass", "weight_pruning", "--levels", "0.5"], id="sensitivity"),
    pytest.param(["difficulty"], id="difficulty"),
]


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        pytest.param(["--data", "digit"], "Did you mean 'digits'", id="misspelt data"),
        pytest.param(["--model", "lenet-digit"], "Did you mean 'lenet-digits'", id="a misspelt model"),
        pytest.param(["--model", "resnet20-cifar"], "missing", id="the weights of another model"),
        pytest.param(["--images", "5000"], "--images is 5,000, but the", id="more images than there are"),
        pytest.param(["--batch-size", "0"], "--batch-size", id="no images at a time"),
        pytest.param(["--device", "cuda:99"], "no device 'cuda:99'", id="a device that is not there"),
    ],
)
@pytest.mark.parametrize("verb", VERBS)
def test_what_cannot_be_loaded_is_refused_in_one_line(
    tinyml: Run, digits_checkpoint: Path, tmp_path: Path, verb: list[str], changed: list[str], message: str
) -> None:
    name, *own = verb
    outcome = tinyml(name, digits_checkpoint, *OPTIONS, *own, *changed, "-o", tmp_path / "run")
    assert (outcome.code, outcome.err.count("\n"), list(tmp_path.iterdir())) == (2, 1, [])
    assert message in outcome.err


@pytest.mark.parametrize("verb", VERBS)
def test_random_weights_are_noted_and_their_seed_is_the_verbs(tinyml: Run, tmp_path: Path, verb: list[str]) -> None:
    name, *own = verb
    outcome = tinyml(name, "random", *OPTIONS, *own, "--images", "200", "--seed", "7", "-o", tmp_path / "run")
    assert outcome.code == 0
    assert "note: random weights, seed 7: the accuracy means nothing" in outcome.err


@pytest.mark.parametrize("verb", VERBS)
def test_the_page_says_by_which_command_it_was_made(
    tinyml: Run, digits_checkpoint: Path, tmp_path: Path, verb: list[str]
) -> None:
    name, *own = verb
    tinyml(name, digits_checkpoint, *OPTIONS, *own, "--images", "200", "-o", tmp_path / "run")
    (page,) = (tmp_path / "run").glob("*.html")
    assert f"tinyml {name} {digits_checkpoint} --model lenet-digits" in page.read_text(encoding="utf-8")
