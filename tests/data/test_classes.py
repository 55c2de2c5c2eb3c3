from dataclasses import replace

import pytest

from tinyml.data import check_outputs, load_task
from tinyml.errors import ModelError

DIGITS = load_task("digits")
AUTOENCODER = replace(DIGITS, kind="reconstruction", train=None, validation=None, test=replace(
    DIGITS.test, y=DIGITS.test.y % 2), fingerprint="")  # fmt: skip


@pytest.mark.parametrize(("task", "shape"), [(DIGITS, (4, 10)), (AUTOENCODER, (4, 1, 8, 8))], ids=["logits", "images"])
def test_outputs_that_fit_pass(task: object, shape: tuple[int, ...]):
    check_outputs(task, shape)


@pytest.mark.parametrize(
    ("task", "shape", "message"),
    [
        pytest.param(DIGITS, (4, 6), "6 outputs and task 'digits' has 10 classes", id="too few classes"),
        pytest.param(DIGITS, (4, 10, 1), r"shape \(N, 10, 1\); task 'digits' wants \(N, 10\)", id="one axis too many"),
        pytest.param(AUTOENCODER, (4, 64), r"shape \(N, 64\); task 'digits' wants \(N, 1, 8, 8\)", id="flat images"),
    ],
)
def test_outputs_that_do_not_fit_are_refused(task: object, shape: tuple[int, ...], message: str):
    with pytest.raises(ModelError, match=message):
        check_outputs(task, shape)
