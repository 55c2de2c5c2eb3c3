import subprocess
import sys

import pytest

import tinyml


@pytest.mark.parametrize("name", tinyml.__all__)
def test_a_public_name_resolves_and_is_documented(name: str) -> None:
    assert getattr(tinyml, name).__doc__


def test_public_names_are_listed_once_in_order() -> None:
    assert tinyml.__all__ == sorted(tinyml._PUBLIC)


def test_dir_shows_public_names_before_they_are_used() -> None:
    assert set(tinyml.__all__) <= set(dir(tinyml))


def test_an_unknown_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="has no attribute 'compres'"):
        _ = tinyml.compres


def test_importing_tinyml_imports_nothing_heavy() -> None:
    code = (
        "import sys, tinyml; print({'torch', 'numpy', 'onnx', 'onnxruntime', 'pydantic', 'click'} & set(sys.modules))"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert result.stdout.strip() == "set()"
