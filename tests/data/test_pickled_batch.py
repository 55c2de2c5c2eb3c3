import os
import pickle
import struct
from pathlib import Path

import numpy as np
import pytest

from tinyml.data.pickled_batch import read_batch
from tinyml.errors import DataError

HERE = Path("batch")


class Attack:
    """Runs a command when it is unpickled."""

    def __init__(self, command: str) -> None:
        self.command = command

    def __reduce__(self) -> tuple[object, tuple[str]]:
        return os.system, (self.command,)


def batch(data: object, labels: object) -> bytes:
    return pickle.dumps({b"data": data, b"labels": labels}, protocol=2)


def test_an_attack_is_refused_by_name_and_not_run(tmp_path: Path):
    with pytest.raises(DataError, match=r"refused: it names \w+.system, which no CIFAR-10 batch does"):
        read_batch(pickle.dumps({b"data": Attack(f"touch {tmp_path}/ran")}), HERE)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("name", ["builtins eval", "numpy load", "numpy.core.multiarray fromfile", "os system"])
def test_no_function_but_the_two_of_arrays_can_be_named(name: str):
    with pytest.raises(DataError, match=f"it names {name.replace(' ', '.')}"):
        read_batch(b"c" + name.replace(" ", "\n").encode() + b"\n.", HERE)


def test_a_pickle_that_asks_for_a_giant_memo_is_refused():
    with pytest.raises(DataError, match="memo of 2147483647 entries"):
        read_batch(b"\x80\x02]r" + struct.pack("<I", 2**31 - 1) + b".", HERE)


@pytest.mark.parametrize(
    ("data", "labels", "message"),
    [
        pytest.param(np.zeros((2, 3072)), [0, 1], "data is not uint8", id="float pixels"),
        pytest.param(np.zeros((2, 100), np.uint8), [0, 1], "data is not uint8", id="another width"),
        pytest.param(np.zeros((2, 3072), np.uint8, order="F"), [0, 1], "data is not uint8", id="Fortran order"),
        pytest.param(np.zeros((2, 3072), np.uint8), [0], "labels is not a list of 2", id="too few labels"),
        pytest.param(np.zeros((2, 3072), np.uint8), [0, 2**70], "labels is not a list", id="giant label"),
        pytest.param(np.zeros((2, 3072), np.uint8), [0, -1], "labels is not a list", id="negative label"),
        pytest.param(np.zeros((2, 3072), np.uint8), "ab", "labels is not a list", id="text for labels"),
    ],
)
def test_what_is_no_batch_is_refused(data: object, labels: object, message: str):
    with pytest.raises(DataError, match=message):
        read_batch(batch(data, labels), HERE)


def test_keys_may_be_text():
    pixels, labels = read_batch(pickle.dumps({"data": np.ones((1, 3072), np.uint8), "labels": [7]}, protocol=2), HERE)
    assert pixels.shape == (1, 3072)
    assert labels.tolist() == [7]
