import re
from pathlib import Path

import pytest

from tinyml.cli.group import VERBS
from tinyml.data.card import Card
from tinyml.errors import DataError
from tinyml.recipe import load_recipe
from tinyml.shipped import shipped_files
from tinyml.target import TARGETS
from tinyml.yaml_file import parse_yaml

README = (Path(__file__).parents[1] / "README.md").read_text(encoding="utf-8")


def yaml_block(key: str) -> str:
    """Return the one YAML block of the README that has the key."""
    (block,) = (text for text in re.findall(r"```yaml\n(.*?)```", README, re.DOTALL) if f"\n{key}:" in text)
    return block


def test_the_data_card_of_the_readme_is_a_valid_card():
    card = parse_yaml(yaml_block("train"), "README.md", Card, error=DataError)
    assert (card.kind, card.task) == ("cifar10", "classification")


def test_the_recipe_of_the_readme_loads(tmp_path: Path):
    file = tmp_path / "mine.yaml"
    file.write_text(yaml_block("passes"))
    assert [entry.name for entry in load_recipe(str(file)).passes] == ["linear_quantization"]


@pytest.mark.parametrize("name", [*shipped_files("recipes"), *TARGETS, *VERBS])
def test_the_readme_names_every_recipe_target_and_verb(name: str):
    assert f"`{name}`" in README or f"`tinyml {name}" in README


def test_the_readme_holds_no_placeholder():
    assert not re.search(r"^[A-Z]+-[A-Z]+$", README, re.MULTILINE)
