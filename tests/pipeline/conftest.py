"""Jobs on the digits, and what they need."""

from collections.abc import Callable
from dataclasses import replace

import pytest

from tinyml.data import Task, load_task
from tinyml.pipeline import Job
from tinyml.recipe import load_recipe
from tinyml.target import load_target

MakeJob = Callable[..., Job]


@pytest.fixture(scope="session")
def digits() -> Task:
    return load_task("digits")


@pytest.fixture(scope="session")
def small_digits(digits: Task) -> Task:
    """The digits without their last rows and columns: 6x6 pixels."""
    splits = {name: replace(split, x=split.x[:, :6, :6]) for name, split in digits.splits.items()}
    return replace(digits, input_shape=(1, 6, 6), fingerprint="", **splits)  # type: ignore[arg-type]  # names of splits


@pytest.fixture
def job(digits: Task) -> MakeJob:
    """Return a function that makes a job on the digits with fresh weights, in int8, with some fields changed."""

    def make(recipe: str = "int8", *overrides: str, **changed: object) -> Job:
        plain = Job(
            checkpoint=None,
            model="lenet-digits",
            recipe=load_recipe(recipe, overrides),
            target=load_target("x86-avx2"),
            task=digits,
        )
        return replace(plain, **changed)  # type: ignore[arg-type]  # fields of Job

    return make
