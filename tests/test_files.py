import errno
import os

import pytest

from tinyml.errors import OutputError, TinymlError
from tinyml.files import check_output_file, is_temporary, sha256_of, write_atomically


def test_bytes_and_writers_are_written(tmp_path):
    write_atomically(tmp_path / "ä.bin", b"one")
    assert (tmp_path / "ä.bin").read_bytes() == b"one"
    write_atomically(tmp_path / "ä.bin", lambda file: (file.write(b"tw"), file.write(b"o"))[0])
    assert (tmp_path / "ä.bin").read_bytes() == b"two"
    assert [path.name for path in tmp_path.iterdir()] == ["ä.bin"]


@pytest.mark.parametrize("call", ["fsync", "replace"])
def test_a_full_disk_leaves_the_old_file_and_no_other(tmp_path, monkeypatch, call):
    def full(*_, **__):
        raise OSError(errno.ENOSPC, "No space left on device")

    (tmp_path / "a").write_bytes(b"old")
    monkeypatch.setattr(os, call, full) if call == "fsync" else monkeypatch.setattr("pathlib.Path.replace", full)
    with pytest.raises(TinymlError, match=r"disk is full: '.*a' could not be written") as caught:
        write_atomically(tmp_path / "a", b"new")
    assert caught.value.exit_code == 1
    assert [path.read_bytes() for path in tmp_path.iterdir()] == [b"old"]


def test_an_interruption_leaves_the_old_file_and_no_other(tmp_path):
    def interrupted(file):
        file.write(b"half")
        raise KeyboardInterrupt

    (tmp_path / "a").write_bytes(b"old")
    with pytest.raises(KeyboardInterrupt):
        write_atomically(tmp_path / "a", interrupted)
    assert [path.read_bytes() for path in tmp_path.iterdir()] == [b"old"]


@pytest.mark.parametrize(
    "code", [errno.EROFS, errno.EACCES, errno.ENAMETOOLONG], ids=["read-only", "forbidden", "long"]
)
def test_a_place_that_cannot_be_written_is_refused(tmp_path, monkeypatch, code):
    def refuse(*_, **__):
        raise OSError(code, "no")

    monkeypatch.setattr("pathlib.Path.open", refuse)
    with pytest.raises(OutputError, match="Cannot write") as caught:
        write_atomically(tmp_path / "a", b"new")
    assert caught.value.exit_code == 2


def test_a_missing_folder_is_said(tmp_path):
    with pytest.raises(OutputError, match="folder does not exist"):
        write_atomically(tmp_path / "no" / "a", b"")


def test_the_hash_is_sha256(tmp_path):
    (tmp_path / "a").write_bytes(b"abc")
    assert sha256_of(tmp_path / "a") == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"


def test_an_output_file_may_be_new_or_overwritten_when_asked(tmp_path):
    check_output_file(tmp_path / "a", overwrite=False)
    (tmp_path / "a").touch()
    check_output_file(tmp_path / "a", overwrite=True)
    with pytest.raises(OutputError, match="--overwrite"):
        check_output_file(tmp_path / "a", overwrite=False)


def test_an_output_file_is_no_input_and_no_folder(tmp_path):
    with pytest.raises(OutputError, match="also an input"):
        check_output_file(tmp_path / "a", overwrite=True, inputs=[tmp_path / "b" / ".." / "a"])
    with pytest.raises(OutputError, match="is a folder"):
        check_output_file(tmp_path, overwrite=True)
    with pytest.raises(OutputError, match="does not exist"):
        check_output_file(tmp_path / "no" / "a", overwrite=True)


def test_temporary_files_are_recognised(tmp_path):
    assert is_temporary(tmp_path / ".tinyml-00ff.tmp")
    assert not is_temporary(tmp_path / "model.onnx")
