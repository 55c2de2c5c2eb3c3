import json
from collections.abc import Callable
from pathlib import Path

from tinyml.target import TARGETS, load_target


def test_the_list_has_every_target(tinyml: Callable[..., object]) -> None:
    assert [target["name"] for target in json.loads(tinyml("targets", "--json").out)] == list(TARGETS)


def test_the_table_says_what_they_are(tinyml: Callable[..., object]) -> None:
    assert TARGETS["x86-avx2"] in tinyml("targets").out


def test_a_shown_target_is_a_file_that_loads(tinyml: Callable[..., object], tmp_path: Path) -> None:
    (tmp_path / "t.yaml").write_text(tinyml("targets", "show", "cpu").out, encoding="utf-8")
    assert load_target(str(tmp_path / "t.yaml")) == load_target("cpu")


def test_a_target_is_shown_as_json(tinyml: Callable[..., object]) -> None:
    assert json.loads(tinyml("targets", "show", "arm64", "--json").out)["integer"]["activations"] == "int8"


def test_an_unknown_target_is_refused(tinyml: Callable[..., object]) -> None:
    assert tinyml("targets", "show", "x86").code == 2


def test_a_list_takes_no_name(tinyml: Callable[..., object]) -> None:
    assert tinyml("targets", "list", "cpu").err == "Error: list takes no name; write: show cpu\n"
