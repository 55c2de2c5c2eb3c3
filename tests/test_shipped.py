from pathlib import Path

import pytest

from tinyml import shipped as module
from tinyml.shipped import shipped, shipped_files


def test_a_checkout_has_its_recipes_at_the_top(project: Path) -> None:
    assert shipped("recipes") == project / "recipes"


def test_files_are_known_by_name(project: Path) -> None:
    assert shipped_files("targets")["arm64"] == project / "export" / "targets" / "arm64.yaml"


def test_an_installed_package_comes_first(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(module, "PLACES", {"recipes": (tmp_path, Path("elsewhere"))})
    assert shipped("recipes") == tmp_path


def test_a_damaged_installation_is_said(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(module, "PLACES", {"recipes": (tmp_path / "none",)})
    with pytest.raises(FileNotFoundError, match="install tinyml again"):
        shipped("recipes")
