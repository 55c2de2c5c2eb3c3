"""What every test may use: the project's directory, the development data, the command line."""

import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

# Before any test imports torch: test processes share the cores, and results must not depend on their number.
os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

import pytest
from hypothesis import settings

PROJECT = Path(__file__).parents[1]

settings.register_profile("tinyml", deadline=None, derandomize=True, database=None, max_examples=50)
settings.load_profile("tinyml")


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """What a command left: its exit code and what it wrote."""

    code: int
    out: str
    err: str


@pytest.fixture(autouse=True)
def unwatched(monkeypatch: pytest.MonkeyPatch) -> None:
    """Output is as wide and as plain as in a pipe, wherever the tests run."""
    for name in ("COLUMNS", "FORCE_COLOR", "NO_COLOR"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def project() -> Path:
    return PROJECT


@pytest.fixture(scope="session")
def shared() -> Path:
    """The directory of development data beside the project."""
    directory = PROJECT.parent / "shared"
    if not (directory / "data").is_dir():
        pytest.skip("the development data is not beside the project")
    return directory


@pytest.fixture
def tinyml(capfd: pytest.CaptureFixture[str]) -> Callable[..., Outcome]:
    """Run the command line in this process, as in `tinyml("recipes", "--json").out`."""
    from tinyml.cli import main

    def run(*arguments: str | Path) -> Outcome:
        capfd.readouterr()
        code = main([str(argument) for argument in arguments])
        captured = capfd.readouterr()
        return Outcome(code=code, out=captured.out, err=captured.err)

    return run
