from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Annotated

import pytest
from pydantic import Field

from tinyml.errors import RecipeError
from tinyml.passes.checked_settings import check_settings


@dataclass(frozen=True)
class Inner:
    size: Annotated[int, Field(ge=1)]


@dataclass(frozen=True)
class Outer:
    share: Annotated[float, Field(lt=1)] = 0.0
    names: tuple[str, ...] = ()
    inner: Mapping[str, Inner] = field(default_factory=dict)

    def __post_init__(self) -> None:
        check_settings(self)


def test_every_field_that_is_wrong_is_named_with_its_value():
    with pytest.raises(RecipeError, match=r"Outer: share: 2: .*less than 1; inner: \{'a': \{'size': 0\}\}: .*"):
        Outer(share=2, inner={"a": {"size": 0}})  # type: ignore[dict-item]  # as a user may write it


def test_values_become_what_the_fields_are():
    made = Outer(share=0, names=["a"], inner={"a": {"size": 3}})  # type: ignore[arg-type, dict-item]  # as a user may write it
    assert made == Outer(share=0.0, names=("a",), inner={"a": Inner(size=3)})
