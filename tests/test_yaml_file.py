from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel, Field

from tinyml.errors import DataError, RecipeError
from tinyml.yaml_file import json_schema, parse_document, parse_yaml, read_yaml
from tinyml.yaml_text import dump_yaml


@dataclass(frozen=True, kw_only=True)
class Oven:
    method: Literal["bake", "grill"] = "bake"
    minutes: Annotated[int, Field(ge=1)] = 10


@dataclass(frozen=True, kw_only=True)
class Dish:
    name: str
    salt: float = 0.5
    hot: bool = True
    steps: tuple[str, ...] = ()
    oven: Oven = field(default_factory=Oven)
    by_guest: Mapping[str, Mapping[str, float | str]] = field(default_factory=dict)


class Card(BaseModel):
    size: int = Field(alias="augment", default=1)


def faults(text: str, schema: type = Dish) -> list[str]:
    """The lines of the error, without the heading."""
    with pytest.raises(RecipeError) as error:
        parse_yaml(text, "f", schema, error=RecipeError)
    lines = str(error.value).splitlines()
    return [line.strip() for line in (lines[1:] if len(lines) > 1 else lines)]


def test_a_right_file_is_read() -> None:
    dish = parse_yaml("name: soup\nsalt: 1e-3\nsteps: [cut, boil]\noven: {minutes: 3}", "f", Dish, error=RecipeError)
    assert dish == Dish(name="soup", salt=0.001, steps=("cut", "boil"), oven=Oven(minutes=3))


def test_a_whole_number_may_stand_for_a_float() -> None:
    assert parse_yaml("name: soup\nsalt: 1", "f", Dish, error=RecipeError).salt == 1.0


@pytest.mark.parametrize(
    ("text", "said"),
    [
        pytest.param("name: a\nsalt: true", "f:2:1: salt: must be a number, not true", id="true is no number"),
        pytest.param("name: a\nhot: yes", 'f:2:1: hot: must be true or false, not "yes"', id="yes is a word"),
        pytest.param("name: 3", "f:1:1: name: must be text, not 3", id="3 is no text"),
        pytest.param("name: 2024-01-01\nhot: 1", "f:2:1: hot: must be true or false, not 1", id="1 is not true"),
        pytest.param(
            "name: a\noven: {minutes: 1.0}", "f:2:8: oven.minutes: must be a whole number, not 1.0", id="1.0 is no int"
        ),
        pytest.param(
            "name: a\noven:\n  minutes: 0", "f:3:3: oven.minutes: must be greater than or equal to 1, not 0", id="range"
        ),
        pytest.param("name: a\noven: 7", "f:2:1: oven: must be a mapping, not 7", id="no mapping"),
        pytest.param("name: a\nsteps: x", 'f:2:1: steps: must be a list, not "x"', id="no list"),
        pytest.param("name:", "f:1:1: name: must be text, not empty", id="empty value"),
        pytest.param("salt: 1", "f:1:1: name: missing, and it has no default", id="missing"),
        pytest.param(
            "name: a\nby_guest: {x: {y: [1]}}", "f:2:16: by_guest.x.y: must be a number or text, not [1]", id="union"
        ),
        pytest.param("name: a\nsalt: .nan", "f:2:1: salt: .nan is not a finite number", id="nan"),
        pytest.param("name: a\nsalt: 1e999", "f:2:1: salt: 1e999 is not a finite number", id="overflow"),
        pytest.param(
            "name: a\nname: b", "f:2:1: name: the key is there twice, first at line 1; keep one", id="duplicate key"
        ),
        pytest.param("name: a\n\tsalt: 1", "f:2:1: a tab; YAML wants spaces", id="tab"),
        pytest.param("name:\ta", "f:1:6: a tab; YAML wants spaces", id="tab after a key"),
        pytest.param(
            "name: !!python/object:os.system x",
            "f:1:1: name: the tag '!!python/object:os.system'; tags are not read here",
            id="tag",
        ),
        pytest.param("%YAML 1.1\n---\nname: a", "f:1:1: the directive '%YAML 1.1'; none are read here", id="directive"),
        pytest.param("? [a]\n: b\nname: a", "f:1:3: a key must be plain text", id="key is a list"),
        pytest.param("", "f:1:1: is empty", id="empty"),
        pytest.param("# only a comment", "f:1:1: is empty", id="only a comment"),
        pytest.param("- a", 'f:1:1: must be a mapping of keys to values, not ["a"]', id="a list"),
        pytest.param("name: {a", "f:1:9: not YAML: expected ',' or '}', but got '<stream end>'", id="not closed"),
        pytest.param("name: a\n---\nname: b", "f:2:1: not YAML: but found another document", id="two documents"),
        pytest.param("[" * 3000, "f:1:1: nested too deeply", id="nested too deeply"),
        pytest.param(
            "name: \x00",
            "f:1:1: not YAML: unacceptable character #x0000: special characters are not allowed",
            id="control character",
        ),
        pytest.param("#" * 1_000_001, "f:1:1: 1,000,001 characters long; at most 1,000,000 are read", id="too long"),
    ],
)
def test_a_fault_is_told_with_its_place(text: str, said: str) -> None:
    assert faults(text) == [said]


def test_a_near_word_is_offered_for_a_key_and_for_a_choice() -> None:
    assert faults("name: a\noven: {method: bakee, minuts: 3}") == [
        "f:2:8: oven.method: must be 'bake' or 'grill', not \"bakee\". Did you mean 'bake'?",
        "f:2:23: oven.minuts: unknown key; allowed: method, minutes. Did you mean 'minutes'?",
    ]


def test_aliases_of_keys_are_offered() -> None:
    assert faults("augmnt: 3", Card) == ["f:1:1: augmnt: unknown key; allowed: augment. Did you mean 'augment'?"]


def test_all_faults_are_told_in_the_order_of_the_file() -> None:
    text = "nam: a\nsalt: x\nsalt: y\noven: {minutes: -1}\nsteps: [1]"
    assert [line.split(": ")[0] for line in faults(text)] == ["f:1:1", "f:1:1", "f:2:1", "f:3:1", "f:4:8", "f:5:9"]


def test_every_tab_is_told() -> None:
    assert faults("name: a\n\tb: 1\n\tc: 2") == ["f:2:1: a tab; YAML wants spaces", "f:3:1: a tab; YAML wants spaces"]


def test_a_tab_in_a_comment_or_in_quotes_is_no_fault() -> None:
    assert parse_yaml('name: "a\tb"  #\tx', "f", Dish, error=RecipeError).name == "a\tb"


def test_a_billion_laughs_are_refused_at_once() -> None:
    lines = ["a0: &a0 [ha]", *(f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]" for n in range(1, 10))]
    assert "an anchor or an alias" in faults("\n".join(lines))[0]


def test_a_file_that_is_missing_is_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"none\.yaml: there is no such file"):
        read_yaml(tmp_path / "none.yaml", Dish, error=DataError)


def test_a_directory_cannot_be_read(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="cannot be read: Is a directory"):
        read_yaml(tmp_path, Dish, error=DataError)


def test_bytes_that_are_not_utf8_are_told(tmp_path: Path) -> None:
    (tmp_path / "f.yaml").write_bytes(b"name: caf\xe9")
    with pytest.raises(DataError, match="is not UTF-8 text: byte 9 is 0xe9"):
        read_yaml(tmp_path / "f.yaml", Dish, error=DataError)


def test_a_byte_order_mark_and_letters_beyond_ascii_are_read(tmp_path: Path) -> None:
    (tmp_path / "ö.yaml").write_text("\ufeffname: süß", encoding="utf-8")
    assert read_yaml(tmp_path / "ö.yaml", Dish, error=DataError).name == "süß"


def test_an_override_makes_the_mappings_on_its_way() -> None:
    document = parse_document("name: a", "f", error=RecipeError)
    document.override(("oven", "minutes"), "30", "--set oven.minutes=30")
    assert document.value == {"name": "a", "oven": {"minutes": 30}}


def test_a_fault_of_an_override_names_it() -> None:
    document = parse_document("name: a", "f", error=RecipeError)
    document.override(("oven", "minutes"), "0", "--set oven.minutes=0")
    document.validate(Dish, document.value)
    with pytest.raises(RecipeError, match=r"^--set oven.minutes=0: oven.minutes: must be greater"):
        document.raise_faults()


def test_the_json_schema_forbids_further_keys_everywhere() -> None:
    schema = json_schema(Dish)
    assert [part["additionalProperties"] for part in (schema, schema["$defs"]["Oven"])] == [False, False]


values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text("aé1e-:#'\" ~", max_size=8),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text("ab1: #-", min_size=1, max_size=4), inner, max_size=3)
    ),
    max_leaves=8,
)


@given(st.dictionaries(st.sampled_from(["a", "true", "1", "x y"]), values, min_size=1))
def test_what_is_dumped_is_read_back(value: dict[str, object]) -> None:
    document = parse_document(dump_yaml(value), "f", error=RecipeError)  # type: ignore[arg-type]
    assert (document.faults, document.value) == ([], value)
