from pathlib import Path

import pytest

from tinyml.data import load_task
from tinyml.errors import DataError

FACTORY = """
from tinyml.data import load_task
def task(): return load_task("digits")
def number(): return 3
def needs(path): return path
"""


@pytest.fixture
def my_data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest) -> str:
    name = f"my_data_{abs(hash(request.node.nodeid))}"
    (tmp_path / f"{name}.py").write_text(FACTORY, encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    return name


def test_a_factory_in_the_working_directory_gives_its_task(my_data: str):
    assert load_task(f"{my_data}:task").name == "digits"


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        pytest.param("number", "returned a int; it must return a tinyml.data.Task", id="no task"),
        pytest.param("needs", "missing a required argument: 'path'", id="argument wanted"),
        pytest.param("tsak", "has no 'tsak'. Did you mean 'task'", id="misspelt"),
    ],
)
def test_a_faulty_factory_is_refused(my_data: str, spec: str, message: str):
    with pytest.raises(DataError, match=message):
        load_task(f"{my_data}:{spec}")


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        pytest.param("digit", "no data 'digit'; allowed: .*Did you mean 'digits'", id="misspelt digits"),
        pytest.param("no.yaml", "no.yaml: there is no such file", id="missing card"),
    ],
)
def test_other_names_are_refused(spec: str, message: str):
    with pytest.raises(DataError, match=message):
        load_task(spec)


def test_a_data_file_is_refused_with_the_advice_to_write_a_card(tmp_path: Path):
    (tmp_path / "a.npz").touch()
    with pytest.raises(DataError, match="not a data card; write a card"):
        load_task(str(tmp_path / "a.npz"))
