"""`tinyml compress` on checkpoints that are missing, damaged, hostile or of another model: one line, exit code 2, no output."""

import os
import shutil
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from tinyml.models import create_model

sys.path.append(str(Path(__file__).parents[1] / "checkpoint"))
import attack_files as build

Run = Callable[..., Any]
Write = Callable[[Path, dict[str, torch.Tensor]], object]

HTML = b"<!DOCTYPE html><html><body>404: Not Found</body></html>"
POINTER = b"version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\nsize 151000\n"


class Attack:
    """Unpickling it would leave a file called victim."""

    def __reduce__(self) -> tuple[object, ...]:
        return os.system, ("touch victim",)


def content(made: Callable[[dict[str, torch.Tensor]], bytes]) -> Write:
    return lambda path, state: path.write_bytes(made(state))


def saved(made: Callable[[dict[str, torch.Tensor]], object]) -> Write:
    return lambda path, state: build.saved(path, made(state))


def without(state: dict[str, torch.Tensor], *names: str, **more: torch.Tensor) -> dict[str, torch.Tensor]:
    return {**{name: value for name, value in state.items() if name not in names}, **more}


def half(whole: bytes) -> bytes:
    return whole[: len(whole) // 2]


def floats(
    path: Path, elements: int, shape: tuple[int, ...], strides: tuple[int, ...], body: bytes, packing: int
) -> Path:
    storage = build.StorageMention("FloatStorage", "0", elements)
    weights = build.pickled({"conv1.weight": build.tensor(storage, shape, strides)})
    return build.zip_file(path, weights, {"0": body}, compression=packing)


FILES = [
    pytest.param("none.pt", lambda path, state: None, "There is no file", id="missing"),
    pytest.param("net.pt", content(lambda state: b""), "is empty", id="empty"),
    pytest.param("net.pt", content(lambda state: half(build.as_bytes(state))), "truncated", id="truncated zip"),
    pytest.param("net.th", content(lambda state: half(build.as_bytes(state, legacy=True))), "truncated", id="truncated legacy"),
    pytest.param("net.pt", content(lambda state: HTML), "is a web page", id="a web page"),
    pytest.param("net.safetensors", content(lambda state: HTML), "is a web page", id="a web page called safetensors"),
    pytest.param("net.pt", content(lambda state: POINTER), "git lfs pull", id="a git-LFS pointer"),
    pytest.param("net.pt", saved(lambda state: {"state_dict": state, "x": Attack()}), "posix.system", id="a pickle attack"),
    pytest.param("net.pt", saved(lambda state: create_model("lenet-digits")), "whole pickled module", id="a whole module"),
    pytest.param(
        "net.pt",
        lambda path, state: floats(path, 2**24, (2**24,), (1,), bytes(2**26), zipfile.ZIP_DEFLATED),
        "exhaust the memory",
        id="a zip bomb",
    ),
    pytest.param(
        "net.pt",
        lambda path, state: floats(path, 1, (2**40,), (0,), bytes(4), zipfile.ZIP_STORED),
        "claims 1099511627776 elements",
        id="a stride bomb",
    ),
    pytest.param("net.pt", saved(lambda state: without(state, "conv1.weight")), "1 missing: 'conv1.weight'", id="a missing tensor"),
    pytest.param("net.pt", saved(lambda state: {**state, "extra": torch.ones(1)}), "does not have: 'extra'", id="one too many"),
    pytest.param(
        "net.pt", saved(lambda state: {**state, "linear2.bias": torch.ones(3)}), "is 3, the model has 10", id="another shape"
    ),
    pytest.param(
        "net.pt",
        saved(lambda state: {**state, "linear2.bias": torch.full((10,), float("nan"))}),
        "'linear2.bias' has 10 NaN",
        id="NaN weights",
    ),
    pytest.param("net.pt", saved(lambda state: {"epoch": 3}), "'net.pt'", id="no weights at all"),
    pytest.param("folder", lambda path, state: path.mkdir(), "not a sound run directory", id="a folder that is no run"),
]  # fmt: skip


@pytest.fixture
def compress(tinyml: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    """Run compress in tmp_path and check that it refuses: one line, code 2, nothing written."""
    monkeypatch.chdir(tmp_path)

    def refused(checkpoint: str | Path, model: str = "lenet-digits", *more: str) -> str:
        before = sorted(tmp_path.rglob("*"))
        own = ("--model", model) if model else ()
        told = tinyml("compress", checkpoint, *own, "--data", "digits", "--recipe", "int8", "-o", "out", *more)
        assert (told.code, told.out, told.err.count("\n")) == (2, "", 1)
        assert told.err.startswith("Error: ")
        assert sorted(tmp_path.rglob("*")) == before
        return str(told.err)

    return refused


@pytest.mark.parametrize(("name", "write", "message"), FILES)
def test_a_bad_file_is_refused_in_one_line(
    compress: Run, digits_checkpoint: Path, tmp_path, name, write, message
) -> None:
    write(tmp_path / name, load_file(digits_checkpoint))
    assert message in compress(name)
    assert not (tmp_path / "victim").exists()


def test_the_wrong_model_for_the_checkpoint_is_told_with_the_right_one(compress: Run, digits_checkpoint: Path) -> None:
    assert "It fits --model lenet-digits" in compress(digits_checkpoint, "resnet20-cifar")


def test_a_misspelt_model_is_told_with_the_nearest(compress: Run, digits_checkpoint: Path) -> None:
    assert "Did you mean 'lenet-digits'?" in compress(digits_checkpoint, "lenet-digit")


def test_a_checkpoint_file_without_a_model_is_refused(compress: Run, digits_checkpoint: Path) -> None:
    assert "--model is needed" in compress(digits_checkpoint, "")


def test_another_model_than_the_runs_own_is_refused(compress: Run, int8_run: Path) -> None:
    assert "holds a lenet-digits; leave --model out" in compress(int8_run, "resnet20-cifar")


def test_a_quantized_run_is_not_quantized_again(compress: Run, int8_run: Path) -> None:
    assert "went through linear_quantization already" in compress(int8_run, "")


def flip(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


def test_a_flipped_bit_in_a_trained_checkpoint_is_noticed(
    compress: Run, digits_checkpoint: Path, tmp_path: Path
) -> None:
    shutil.copy(digits_checkpoint, tmp_path / "net.safetensors")
    flip(tmp_path / "net.safetensors")
    assert "SHA-256 does not match" in compress("net.safetensors")


OWN = ["model.safetensors", "architecture.json", "manifest.json", "model.onnx", "baseline/model.onnx", "reference.npz"]


@pytest.mark.parametrize("name", OWN)
def test_a_flipped_bit_in_a_run_is_noticed_by_compress_and_by_verify(
    compress: Run, tinyml: Run, int8_run: Path, tmp_path: Path, name: str
) -> None:
    run = shutil.copytree(int8_run, tmp_path / "run")
    flip(run / name)
    assert Path(name).name in compress("run", "")
    verified = tinyml("verify", run)
    assert (verified.code, verified.err.count("\n")) == (3, 1)
    assert "hashes of all files" in verified.err


def test_the_other_verbs_refuse_a_bad_checkpoint_alike(tinyml: Run, tmp_path: Path) -> None:
    (tmp_path / "net.pt").write_bytes(HTML)
    told = tinyml("profile", tmp_path / "net.pt", "--model", "lenet-digits")
    assert (told.code, told.err.count("\n")) == (2, 1)
    assert "is a web page" in told.err
