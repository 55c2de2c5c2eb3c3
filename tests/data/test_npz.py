import io
import zipfile
from pathlib import Path

import numpy as np
import pytest

from tinyml.data.npz import read_npz
from tinyml.errors import DataError

X = np.zeros((3, 4, 4, 1), np.uint8)
Y = np.array([0, 1, 2], np.uint8)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "données.npz"


def test_pixels_stay_bytes_and_labels_become_int64(file: Path):
    np.savez(file, x=X, y=Y, extra=np.zeros(2))
    split = read_npz(file)
    assert (split.x.dtype, split.y.dtype, split.source) == (np.uint8, np.int64, "file données.npz")


@pytest.mark.parametrize("kind", [np.float16, np.float32, np.float64])
def test_floats_become_float32(file: Path, kind: type[np.floating]):
    np.savez(file, x=np.full((3, 7), 0.5, kind), y=Y)
    assert read_npz(file).x.dtype == np.float32


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        pytest.param({"images": X, "y": Y}, "no x in the file; it holds images, y", id="no x"),
        pytest.param({"X": X, "Y": Y}, "no x and y in the file; it holds X, Y.", id="capitals"),
        pytest.param({"x": X[:, 0], "y": Y}, r"shape \(3, 4, 1\).*\(N, H, W, C\).*x\[..., None\]", id="three axes"),
        pytest.param({"x": X.astype(np.int32), "y": Y}, "x is int32", id="int32 pixels"),
        pytest.param({"x": X, "y": Y[:2]}, "3 examples and y has 2 labels", id="lengths differ"),
        pytest.param({"x": X[:0], "y": Y[:0]}, "holds no data", id="empty"),
        pytest.param({"x": np.zeros(3, np.float32), "y": Y}, r"x has shape \(3,\)", id="one axis"),
        pytest.param({"x": X, "y": Y.astype(float)}, r"y is float64 .* allowed: integers \(N,\)", id="float labels"),
        pytest.param({"x": X, "y": np.eye(3, dtype=int)}, r"y is int64 with shape \(3, 3\)", id="one-hot labels"),
        pytest.param({"x": np.array([[0], [np.nan], [0]]), "y": Y}, r"1 NaN or infinite .* x\[1\]", id="NaN"),
        pytest.param({"x": np.array([[0], [0], [np.inf]]), "y": Y}, r"1 NaN or infinite .* x\[2\]", id="infinity"),
        pytest.param({"x": np.array([[0], [0], [1e300]]), "y": Y}, "overflow float32", id="too large for float32"),
        pytest.param(
            {"x": np.array([[{}], [1], [2]]), "y": Y}, "Python objects, which are never unpickled", id="objects"
        ),
    ],
)
def test_wrong_arrays_are_refused(file: Path, arrays: dict[str, np.ndarray], message: str):
    np.savez(file, **arrays)
    with pytest.raises(DataError, match=message) as refusal:
        read_npz(file)
    assert str(file) in str(refusal.value)


def test_all_faults_are_told_together(file: Path):
    np.savez(file, x=X.astype(int), y=Y.astype(float))
    with pytest.raises(DataError, match=r"(?s)x is int64.*y is float64"):
        read_npz(file)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        pytest.param(b"", "is empty", id="nothing"),
        pytest.param(b"<!DOCTYPE html>", "is not an .npz file; it begins with b'<!DOCTYPE html>'", id="a web page"),
        pytest.param(b"version https://git-lfs.github.com/spec/v1", "git-LFS pointer.*git lfs pull", id="a pointer"),
        pytest.param(b"\x93NUMPY\x01\x00", "single .npy array", id="npy"),
        pytest.param(b"PK\x03\x04 and then nothing", "truncated or damaged", id="start of a zip file"),
    ],
)
def test_other_files_are_refused(file: Path, content: bytes, message: str):
    file.write_bytes(content)
    with pytest.raises(DataError, match=message):
        read_npz(file)


@pytest.mark.parametrize("compressed", [False, True])
def test_a_flipped_byte_is_found(file: Path, compressed: bool):
    (np.savez_compressed if compressed else np.savez)(
        file, x=np.arange(4096, dtype=np.uint8).reshape(1, 64, 64, 1), y=Y[:1]
    )
    damaged = bytearray(file.read_bytes())
    damaged[300] ^= 0xFF
    file.write_bytes(damaged)
    with pytest.raises(DataError, match=r"damaged|cannot be read"):
        read_npz(file)


def test_a_missing_file_is_refused_with_its_neighbour(file: Path):
    file.with_name("train.npz").touch()
    with pytest.raises(DataError, match=r"no such file. Did you mean 'train.npz'"):
        read_npz(file.with_name("trian.npz"))


def test_a_folder_is_refused(tmp_path: Path):
    with pytest.raises(DataError, match="is a folder"):
        read_npz(tmp_path)


def test_a_header_that_claims_a_giant_array_is_refused(file: Path):
    header = io.BytesIO()
    np.lib.format.write_array_header_1_0(header, {"descr": "|u1", "fortran_order": False, "shape": (2**50, 1, 1, 1)})
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr("x.npy", header.getvalue())
        archive.writestr("y.npy", header.getvalue())
    with pytest.raises(DataError, match=r"cannot be read: .*Unable to allocate"):
        read_npz(file)
