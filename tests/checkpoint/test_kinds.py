import gzip
import io
import os
import tarfile

import pytest

from tinyml.checkpoint import read_state
from tinyml.errors import CheckpointError


def plain_tar() -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        archive.addfile(tarfile.TarInfo("model.pt"))
    return buffer.getvalue()


@pytest.mark.parametrize(
    ("content", "said"),
    [
        pytest.param(b"", "is empty", id="empty"),
        pytest.param(b"\n<!DOCTYPE html><html>404", "web page", id="HTML"),
        pytest.param(b"version https://git-lfs.github.com/spec/v1\noid sha256:0\n", "git lfs pull", id="LFS pointer"),
        pytest.param(gzip.compress(b"x" * 600), "gunzip", id="gzip"),
        pytest.param(plain_tar(), "tar -xf", id="plain tar"),
        pytest.param(b'{"weight_map": {}}', "JSON text", id="JSON"),
        pytest.param(b"\x89HDF\r\n\x1a\n", "HDF5", id="Keras"),
        pytest.param(bytes(1000), "zeros", id="zeros"),
        pytest.param(b"hello\nworld", r"begins with 'hello\\nworld'.*\.safetensors", id="text"),
        pytest.param(b"PK\x03\x04" + bytes(100), "truncated", id="half a zip"),
        pytest.param((40).to_bytes(8, "little") + b'{"a":', "truncated safetensors", id="half a safetensors"),
    ],
)
def test_what_is_no_checkpoint_is_named(tmp_path, content, said):
    path = tmp_path / "модель.pt"
    path.write_bytes(content)
    with pytest.raises(CheckpointError, match=said) as caught:
        read_state(path)
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_missing_file_is_answered_with_the_nearest_names(tmp_path):
    (tmp_path / "resnet20.pth").write_bytes(b"x")
    (tmp_path / "notes.txt").write_bytes(b"x")
    with pytest.raises(CheckpointError, match=r"no file.*there is resnet20\.pth\."):
        read_state(tmp_path / "resnet02.pth")


def test_a_missing_folder_is_said(tmp_path):
    with pytest.raises(CheckpointError, match="does not exist"):
        read_state(tmp_path / "nowhere" / "a.pt")


def test_a_pipe_is_not_waited_for(tmp_path):
    os.mkfifo(tmp_path / "pipe.pt")
    with pytest.raises(CheckpointError, match="not a regular file"):
        read_state(tmp_path / "pipe.pt")


@pytest.mark.parametrize("name", ["n" * 300, "a\0b"], ids=["too long", "with a zero byte"])
def test_an_impossible_name_is_one_line(tmp_path, name):
    with pytest.raises(CheckpointError):
        read_state(tmp_path / name)


def test_a_folder_is_no_checkpoint(tmp_path):
    with pytest.raises(CheckpointError, match="a folder"):
        read_state(tmp_path)
