import json
from collections.abc import Callable

import pytest


@pytest.mark.parametrize(("kind", "key"), [("recipe", "passes"), ("target", "provider"), ("data", "kind")])
def test_a_schema_is_printed_as_json(tinyml: Callable[..., object], kind: str, key: str) -> None:
    text = tinyml("schema", kind).out
    assert json.loads(text)["$schema"].startswith("https://json-schema.org/")
    assert f'"{key}": {{' in text


def test_another_kind_is_refused_with_what_is_allowed(tinyml: Callable[..., object]) -> None:
    outcome = tinyml("schema", "recipes")
    assert (outcome.code, "'recipe', 'target', 'data'" in outcome.err) == (2, True)
