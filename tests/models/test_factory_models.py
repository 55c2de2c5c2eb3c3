import sys
from pathlib import Path

import pytest
import torch
from torch import nn

from tinyml.errors import ModelError
from tinyml.models import create_model, find_model

SOURCE = """
from torch import nn

WIDTH = 3
def linear(width=4, *, classes=10): return nn.Linear(width, classes)
def text(): return "a model"
def breaks(): return {}["no such key"]
"""


@pytest.fixture
def my_nets(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest) -> str:
    """Write a module into a new working directory and return its name, a new one for each test."""
    name = f"my_nets_{abs(hash(request.node.nodeid))}"
    (tmp_path / f"{name}.py").write_text(SOURCE, encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    return name


def test_a_factory_in_the_working_directory_is_built_with_its_arguments(my_nets: str):
    model = create_model(f"{my_nets}:linear", {"width": 6, "classes": 2})
    assert isinstance(model, nn.Linear)
    assert (model.in_features, model.out_features, model.training) == (6, 2, False)


def test_a_class_of_an_installed_package_is_a_factory_too():
    model = create_model("torch.nn:Linear", {"in_features": 2, "out_features": 3})
    assert model(torch.zeros(1, 2)).shape == (1, 3)


def test_the_entry_of_a_factory_knows_no_input_shape(my_nets: str):
    assert find_model(f"{my_nets}:linear").input_shape is None


@pytest.mark.parametrize(
    ("attribute", "model_args", "message"),
    [
        pytest.param("linaer", {}, "has no 'linaer'. Did you mean 'linear'", id="misspelt factory"),
        pytest.param("WIDTH", {}, "'WIDTH' is a int, not a function", id="attribute that cannot be called"),
        pytest.param("linear", {"depth": 1}, "'depth'; allowed: width, classes", id="unknown argument"),
        pytest.param("text", {"a": 1}, "it takes none", id="argument for a factory without any"),
        pytest.param("text", {}, "returned a str; it must return a torch.nn.Module", id="result of another type"),
        pytest.param(
            "breaks", {}, r"failed while it was called: KeyError: 'no such key' \(.*\.py, line 7\)", id="raises"
        ),
        pytest.param("", {}, "not of the form 'package.module:factory'", id="no attribute"),
    ],
)
def test_a_faulty_factory_is_refused_in_one_line(
    my_nets: str, attribute: str, model_args: dict[str, int], message: str
):
    with pytest.raises(ModelError, match=message) as refusal:
        create_model(f"{my_nets}:{attribute}", model_args)
    assert "\n" not in str(refusal.value)


def test_a_missing_module_is_refused_with_the_nearest_in_the_working_directory(my_nets: str):
    with pytest.raises(ModelError, match=f"no module '{my_nets}s' .*Did you mean '{my_nets}'"):
        find_model(f"{my_nets}s:linear")


@pytest.mark.parametrize(
    ("source", "message"),
    [
        pytest.param("def f(:\n", "SyntaxError: invalid syntax", id="syntax"),
        pytest.param("import no_such_package_here\n", "No module named 'no_such_package_here'", id="its own import"),
        pytest.param("raise SystemExit('done')\n", "SystemExit: done", id="a script that exits"),
    ],
)
def test_a_module_that_does_not_import_is_refused_with_the_reason(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest, source: str, message: str
):
    name = f"broken_{abs(hash(request.node.nodeid))}"
    (tmp_path / f"{name}.py").write_text(source, encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ModelError, match=f"importing '{name}' failed: .*{message}"):
        find_model(f"{name}:f")


def test_the_path_of_a_file_is_refused_with_the_name_of_its_module():
    with pytest.raises(ModelError, match=r"names a file; name the module: 'nets.mine:build'"):
        find_model("nets/mine.py:build")


def test_the_import_path_is_left_as_it_was(my_nets: str):
    before = list(sys.path)
    create_model(f"{my_nets}:linear")
    assert sys.path == before
