"""What every test may use: the project's directory, the development data, the command line."""

import logging
import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

# Before any test imports torch: test processes share the cores, and results must not depend on their number.
os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

import pytest
from filelock import FileLock
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
    """Output is as wide and as plain as in a pipe, wherever the tests run; no earlier test's -q silences the log."""
    logging.getLogger("tinyml").setLevel(logging.WARNING)
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


@pytest.fixture(scope="session")
def once(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str, Callable[[Path], object]], Path]:
    """Return a function that makes a file or directory once for all tests, in whichever test process comes first."""
    base = tmp_path_factory.getbasetemp()
    shared_base = base.parent if os.environ.get("PYTEST_XDIST_WORKER") else base

    def make(name: str, work: Callable[[Path], object]) -> Path:
        folder = shared_base / "made-once"
        folder.mkdir(exist_ok=True)
        with FileLock(folder / f"{name}.lock"):
            if not (folder / f"{name}.done").exists():
                work(folder / name)
                (folder / f"{name}.done").touch()
        return folder / name

    return make


def succeed(*arguments: str | Path) -> None:
    """Run the command line in this process; for fixtures, which cannot look at what it says."""
    from tinyml.cli import main

    assert main([str(argument) for argument in arguments]) == 0


@pytest.fixture(scope="session")
def digits_checkpoint(once: Callable[..., Path]) -> Path:
    """lenet-digits, trained until it is right on about 96 % of the digits."""
    options = ("--model", "lenet-digits", "--data", "digits", "--epochs", "3", "--threads", "1", "-q")
    return once("lenet.safetensors", lambda path: succeed("train", *options, "-o", path))


@pytest.fixture(scope="session")
def int8_run(once: Callable[..., Path], digits_checkpoint: Path) -> Path:
    """The run directory of that network in int8 for any CPU; to be read only."""
    options = ("--model", "lenet-digits", "--data", "digits", "--recipe", "int8", "--target", "x86-avx2", "-q")
    return once("int8", lambda path: succeed("compress", digits_checkpoint, *options, "-o", path))
