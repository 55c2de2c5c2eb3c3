"""Outputs that exist, are inputs, are read-only or full: nothing that was there before is lost."""

import os
import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tinyml.manifest import verify_manifest
from tinyml.run_directory import RunDirectory

Run = Callable[..., Any]

ON_DIGITS = ("--model", "lenet-digits", "--data", "digits")


def contents(directory: Path) -> dict[Path, bytes | None]:
    return {path: path.read_bytes() if path.is_file() else None for path in sorted(directory.rglob("*"))}


@pytest.fixture
def refused(tinyml: Run, digits_checkpoint: Path, tmp_path: Path) -> Callable[..., str]:
    """Run compress and check that it refuses in one line and changes nothing in tmp_path."""

    def run(output: Path, *more: str, checkpoint: Path | None = None, code: int = 2) -> str:
        before = contents(tmp_path)
        own = ("--data", "digits") if checkpoint and checkpoint.is_dir() else ON_DIGITS
        told = tinyml("compress", checkpoint or digits_checkpoint, *own, "--recipe", "baseline", "-o", output, *more)
        assert (told.code, told.out, told.err.count("\n")) == (code, "", 1), told.err
        assert told.err.startswith("Error: ")
        assert contents(tmp_path) == before
        return str(told.err)

    return run


@pytest.fixture
def finished(int8_run: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(int8_run, tmp_path / "finished"))


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Callable[[str], Path]]:
    """Return a function that mounts a disk of its own with these options."""
    mounted = []

    def mount(options: str) -> Path:
        place = tmp_path / f"disk{len(mounted)}"
        place.mkdir()
        command = ["mount", "-t", "tmpfs", "-o", options, "tmpfs", str(place)]
        if os.geteuid() != 0 or subprocess.run(command, capture_output=True, check=False).returncode != 0:
            pytest.skip("mounting a small disk is not permitted here")
        mounted.append(place)
        return place

    yield mount
    for place in mounted:
        subprocess.run(["umount", str(place)], check=True)


def test_a_finished_run_is_not_written_over(refused: Callable[..., str], finished: Path) -> None:
    assert "--overwrite" in refused(finished)


def test_a_finished_run_of_something_else_is_not_resumed(refused: Callable[..., str], finished: Path) -> None:
    assert "was another one: " in refused(finished, "--resume")


@pytest.mark.parametrize("option", ["--overwrite", "--resume"])
def test_a_folder_of_the_users_is_left_alone(refused: Callable[..., str], tmp_path: Path, option: str) -> None:
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.txt").write_text("years of work")
    assert "is no run directory of tinyml" in refused(tmp_path / "mine", option)


def test_a_finished_run_with_a_users_file_in_it_is_not_replaced(refused: Callable[..., str], finished: Path) -> None:
    (finished / "notes.txt").write_text("mine")
    assert "notes.txt" in refused(finished, "--overwrite")


def test_a_file_is_not_replaced_by_a_directory(refused: Callable[..., str], tmp_path: Path) -> None:
    (tmp_path / "file").write_text("precious")
    assert "is a file" in refused(tmp_path / "file", "--overwrite")
    assert "is a file" in refused(tmp_path / "file" / "run")


@pytest.mark.parametrize("option", ["--overwrite", "--resume", "-v"])
def test_the_output_is_not_the_input(refused: Callable[..., str], finished: Path, option: str) -> None:
    assert "input" in refused(finished, option, checkpoint=finished)


def test_the_output_does_not_hold_the_input(
    refused: Callable[..., str], digits_checkpoint: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "weights"
    folder.mkdir()
    checkpoint = Path(shutil.copy(digits_checkpoint, folder))
    assert "holds the input" in refused(folder, "--overwrite", checkpoint=checkpoint)
    assert "is or holds the input" in refused(checkpoint, "--overwrite", checkpoint=checkpoint)


def test_nothing_is_written_into_a_finished_run(refused: Callable[..., str], finished: Path) -> None:
    assert "is sealed" in refused(finished / "next")


@pytest.mark.skipif(os.geteuid() == 0, reason="the superuser may write anywhere; a read-only disk is tried below")
def test_a_folder_that_this_user_may_not_write_is_refused(refused: Callable[..., str], tmp_path: Path) -> None:
    (tmp_path / "locked").mkdir(mode=0o500)
    assert "may not write" in refused(tmp_path / "locked" / "run")


def test_a_read_only_disk_is_refused(refused: Callable[..., str], small_disk: Callable[[str], Path]) -> None:
    assert "Cannot write" in refused(small_disk("ro") / "run")


def test_a_disk_too_small_for_the_first_file_is_left_empty(refused: Callable[..., str], small_disk) -> None:
    assert "The disk is full" in refused(small_disk("size=64k") / "run", code=1)


def test_a_run_that_filled_the_disk_goes_on_when_there_is_space(
    tinyml: Run, digits_checkpoint: Path, int8_run: Path, small_disk
) -> None:
    disk = small_disk("size=512k")
    command = (
        "compress",
        digits_checkpoint,
        *ON_DIGITS,
        "--recipe",
        "int8",
        "--target",
        "x86-avx2",
        "-o",
        disk / "run",
    )
    full = tinyml(*command)
    assert (full.code, full.err.count("\n")) == (1, 1)
    assert "The disk is full" in full.err
    assert not (disk / "run" / "manifest.json").exists()
    subprocess.run(["mount", "-o", "remount,size=8m", str(disk)], check=True)
    assert tinyml(*command, "--resume").code == 0
    assert verify_manifest(disk / "run") == []
    assert (disk / "run" / "model.onnx").read_bytes() == (int8_run / "model.onnx").read_bytes()


def test_a_full_disk_leaves_the_run_that_was_to_be_replaced(
    tinyml: Run, digits_checkpoint: Path, int8_run: Path, small_disk
) -> None:
    size = sum(path.stat().st_size for path in int8_run.rglob("*") if path.is_file())
    disk = small_disk(f"size={size // 1024 + 150}k")
    run = Path(shutil.copytree(int8_run, disk / "run"))
    told = tinyml("compress", digits_checkpoint, *ON_DIGITS, "--recipe", "baseline", "-o", run, "--overwrite")
    assert (told.code, told.err.count("\n")) == (1, 1)
    assert "The disk is full" in told.err
    assert verify_manifest(run) == []


def test_overwriting_replaces_a_finished_run_by_the_new_one(tinyml: Run, finished: Path, tmp_path: Path) -> None:
    own = ("--model", "lenet-digits", "--recipe", "baseline")
    told = tinyml("compress", "random", *own, "-o", finished, "--overwrite")
    assert told.code == 0
    assert "passes: []" in (finished / "recipe.yaml").read_text()
    assert verify_manifest(finished) == []
    assert [path.name for path in tmp_path.iterdir()] == ["finished"]


def test_a_directory_in_use_by_another_run_is_refused(tinyml: Run, digits_checkpoint: Path, tmp_path: Path) -> None:
    with RunDirectory.create(tmp_path / "run", overwrite=False, resume=False, fingerprint={"seed": "0"}) as other:
        other.write("recipe.yaml", b"version: 1")
        other.finish("first")
        before = contents(tmp_path)
        told = tinyml(
            "compress", digits_checkpoint, *ON_DIGITS, "--recipe", "baseline", "-o", tmp_path / "run", "--overwrite"
        )
        assert (told.code, told.err.count("\n")) == (2, 1)
        assert "is in use by process" in told.err
        assert contents(tmp_path) == before


def test_paths_may_hold_letters_of_any_script(tinyml: Run, digits_checkpoint: Path, tmp_path: Path) -> None:
    folder = tmp_path / "прогоны и 测试 é"
    folder.mkdir()
    checkpoint = Path(shutil.copy(digits_checkpoint, folder / "сеть-网络.safetensors"))
    told = tinyml("compress", checkpoint, *ON_DIGITS, "--recipe", "int8", "--target", "x86-avx2", "-o", folder / "π")
    assert (told.code, told.err) == (0, "")
    assert tinyml("verify", folder / "π").code == 0
    assert tinyml("profile", folder / "π", "--runs", "3").code == 0
