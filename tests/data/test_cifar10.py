import pickle
from pathlib import Path

import numpy as np
import pytest

from tinyml.data.cifar10 import RECORD_BYTES, read_cifar10
from tinyml.errors import DataError

PLANES = np.random.default_rng(0).integers(0, 256, (4, 3, 32, 32), dtype=np.uint8)
LABELS = [3, 0, 9, 1]


def binary(labels: list[int] = LABELS) -> bytes:
    return b"".join(bytes([label]) + plane.tobytes() for label, plane in zip(labels, PLANES, strict=True))


def pickled(protocol: int = 2) -> bytes:
    batch = {
        b"data": PLANES.reshape(4, 3072),
        b"labels": LABELS,
        b"batch_label": b"a batch",
        b"filenames": [b"a.png"] * 4,
    }
    return pickle.dumps(batch, protocol=protocol)


@pytest.mark.parametrize(
    ("name", "content"),
    [
        pytest.param("data_batch_1.bin", binary(), id="binary"),
        pytest.param("data_batch_1", pickled(), id="python, protocol 2"),
        pytest.param("data_batch_1", pickled(4), id="python, protocol 4"),
    ],
)
def test_channel_planes_become_images_with_channels_last(tmp_path: Path, name: str, content: bytes):
    (tmp_path / name).write_bytes(content)
    split = read_cifar10(tmp_path / name, "train")
    assert np.array_equal(split.x, PLANES.transpose(0, 2, 3, 1))
    assert split.y.tolist() == LABELS


@pytest.mark.parametrize("suffix", ["", ".bin"])
def test_a_folder_gives_five_batches_to_train_and_one_to_test(tmp_path: Path, suffix: str):
    for name in [*(f"data_batch_{n}" for n in range(1, 6)), "test_batch"]:
        (tmp_path / f"{name}{suffix}").write_bytes(binary() if suffix else pickled())
    assert len(read_cifar10(tmp_path, "train")) == 20
    assert len(read_cifar10(tmp_path, "test")) == 4


def test_a_folder_without_its_batches_is_refused(tmp_path: Path):
    (tmp_path / "data_batch_1.bin").write_bytes(binary())
    with pytest.raises(DataError, match=r"no data_batch_2.bin, data_batch_3.bin"):
        read_cifar10(tmp_path, "train")


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        pytest.param("a.bin", binary()[:-1], f"no multiple of {RECORD_BYTES}", id="truncated binary"),
        pytest.param("a.bin", binary([3, 10, 0, 0]), "label 10 in record 1; allowed: 0 to 9", id="binary label of ten"),
        pytest.param("a", pickled()[:-500], "not a readable CIFAR-10 batch", id="truncated pickle"),
        pytest.param("a", binary(), "not a readable CIFAR-10 batch", id="binary without its suffix"),
        pytest.param("a", pickle.dumps([1]), "holds a list", id="another pickle"),
        pytest.param("a", pickle.dumps({"data": 1}), "no labels in this batch; it holds data", id="no labels"),
    ],
)
def test_other_content_is_refused(tmp_path: Path, name: str, content: bytes, message: str):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(DataError, match=message):
        read_cifar10(tmp_path / name, "train")
