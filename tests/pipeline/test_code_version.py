"""Which code a run depends on."""

import sys
from pathlib import Path

import pytest

from tinyml.errors import ModelError
from tinyml.files import sha256_of
from tinyml.pipeline.code_version import code_facts

SOURCE = """\
import functools
from torch import nn

def build(width=4):
    return nn.Linear(width, width)

narrow = functools.partial(build, width=2)
"""


@pytest.fixture
def own_models(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "own_models.py").write_text(SOURCE)
    monkeypatch.chdir(tmp_path)
    monkeypatch.delitem(sys.modules, "own_models", raising=False)
    return tmp_path / "own_models.py"


def test_a_zoo_model_is_part_of_our_own_code() -> None:
    assert code_facts(["resnet20-cifar"]).keys() == {"tinyml's code"}


@pytest.mark.parametrize("name", ["build", "narrow"], ids=["function", "partial"])
def test_the_file_of_a_users_factory_is_known_by_its_content(own_models: Path, name: str) -> None:
    assert code_facts([f"own_models:{name}"])[f"the code of 'own_models:{name}'"] == sha256_of(own_models)


def test_a_factory_that_is_not_there_is_refused(own_models: Path) -> None:
    with pytest.raises(ModelError, match=r"has no 'built'\. Did you mean 'build'\?"):
        code_facts(["own_models:built"])
