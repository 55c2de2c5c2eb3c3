import shutil
import subprocess
import sys
from pathlib import Path
from zipfile import ZipFile

import pytest

PROJECT = Path(__file__).parents[1]
NEEDED = ["tinyml", "recipes", "export", "pyproject.toml", "README.md", "LICENSE"]


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel, built offline from a copy: building leaves files in the tree."""
    source, out = tmp_path_factory.mktemp("source"), tmp_path_factory.mktemp("wheel")
    for name in NEEDED:
        if (PROJECT / name).is_dir():
            shutil.copytree(PROJECT / name, source / name, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy(PROJECT / name, source / name)
    command = [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", str(out), str(source)]
    result = subprocess.run(command, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr
    return next(out.glob("*.whl"))


@pytest.fixture(scope="module")
def names(wheel: Path) -> set[str]:
    with ZipFile(wheel) as archive:
        return set(archive.namelist())


def test_the_wheel_holds_every_module(names: set[str]) -> None:
    modules = {path.relative_to(PROJECT).as_posix() for path in (PROJECT / "tinyml").rglob("*.py")}
    assert modules - names == set()


@pytest.mark.parametrize(("kind", "place"), [("recipes", "recipes"), ("targets", "export/targets")])
def test_the_wheel_holds_the_shipped_files(names: set[str], kind: str, place: str) -> None:
    files = {f"tinyml/_shipped/{kind}/{path.name}" for path in (PROJECT / place).glob("*.yaml")}
    assert files
    assert files - names == set()


def test_the_wheel_holds_what_runs_on_a_device(names: set[str]) -> None:
    assert "tinyml/_shipped/runner/run_stages.py" in names


@pytest.mark.parametrize("file", ["py.typed", "data/digits.npz", "data/digits.LICENSE"])
def test_the_wheel_holds_the_data_of_the_package(names: set[str], file: str) -> None:
    assert f"tinyml/{file}" in names


def test_the_wheel_holds_the_report_templates(names: set[str]) -> None:
    files = {
        path.relative_to(PROJECT).as_posix() for path in (PROJECT / "tinyml" / "report").rglob("*") if path.is_file()
    }
    assert {file for file in files if "__pycache__" not in file} - names == set()


def test_the_wheel_brings_one_import_name(names: set[str]) -> None:
    assert {name.split("/")[0] for name in names} == {"tinyml", "tinyml-0.1.0.dist-info"}


def test_an_installed_wheel_finds_its_recipes_and_targets(wheel: Path, tmp_path: Path) -> None:
    with ZipFile(wheel) as archive:
        archive.extractall(tmp_path)
    code = "from tinyml.shipped import shipped; print(shipped('recipes'), shipped('targets'))"
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=tmp_path, check=True)
    shipped = tmp_path / "tinyml" / "_shipped"
    assert result.stdout.split() == [str(shipped / "recipes"), str(shipped / "targets")]
