import pickle
import tracemalloc
import zipfile
from contextlib import suppress
from pathlib import Path

import attack_files as build
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from torch import nn

from tinyml.checkpoint import read_state
from tinyml.errors import CheckpointError

SIX_FLOATS = bytes(24)


class RunsACommand:
    def __init__(self, victim: Path) -> None:
        self.victim = victim

    def __reduce__(self):
        import os

        return os.system, (f"touch '{self.victim}'",)


@pytest.mark.parametrize(
    "layout", ["zip", "legacy", "plain pickle", "plain pickle of protocol 0", "beside the weights"]
)
def test_an_attack_is_named_and_does_not_run(tmp_path, layout):
    victim, path = tmp_path / "victim", tmp_path / "attack.pt"
    attack = RunsACommand(victim)
    if layout.startswith("plain"):
        path.write_bytes(pickle.dumps({"a": attack}, protocol=0 if layout.endswith("0") else 4))
    elif layout == "beside the weights":
        build.saved(path, {"state_dict": build.weights(), "epoch": attack})
    else:
        build.saved(path, attack, legacy=layout == "legacy")
    with pytest.raises(CheckpointError, match=r"would run '(posix|nt)\.system'") as caught:
        read_state(path)
    assert not victim.exists()
    assert "weights_only" not in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "name",
    ["builtins.eval", "builtins.getattr", "subprocess.Popen", "importlib.import_module", "pickle.loads", "torch.load"],
)
def test_other_means_of_attack_are_named(tmp_path, name):
    module, _, attribute = name.rpartition(".")
    path = build.zip_file(tmp_path / "a.pt", build.pickled(build.Mention(module, attribute, "x")), {})
    with pytest.raises(CheckpointError, match=f"would run '{name}'"):
        read_state(path)


@pytest.mark.parametrize("legacy", [False, True], ids=["zip", "legacy"])
@pytest.mark.filterwarnings("ignore:Couldn't retrieve source code")
def test_a_whole_pickled_module_is_refused_with_the_cure(tmp_path, legacy):
    path = build.saved(tmp_path / "m.pt", nn.Sequential(nn.Linear(2, 2)), legacy=legacy)
    with pytest.raises(CheckpointError, match=r"whole pickled module.*torch\.save\(model\.state_dict\(\)") as caught:
        read_state(path)
    assert "torch.nn.modules.linear.Linear" in str(caught.value)


def test_torchscript_is_refused_with_the_cure(tmp_path):
    with zipfile.ZipFile(tmp_path / "m.pt", "w") as archive:
        for name in ("m/data.pkl", "m/constants.pkl", "m/code/__torch__.py"):
            archive.writestr(name, b"\x80\x02N.")
    with pytest.raises(CheckpointError, match=r"TorchScript.*torch\.jit\.load"):
        read_state(tmp_path / "m.pt")


@pytest.mark.parametrize(
    ("shape", "strides", "offset"),
    [
        ((2**40,), (0,), 0),
        ((2**20, 2**20), (0, 0), 0),
        ((2, 4), (0, 1), 0),
        ((6,), (1,), 1),
        ((2, 3), (2**40, 1), 0),
        ((7,), (1,), 0),
    ],
    ids=["stride bomb", "two strides of 0", "expanded", "offset", "wide stride", "one too many"],
)
@pytest.mark.parametrize("layout", ["zip", "legacy"])
def test_a_tensor_outside_its_storage_is_refused(tmp_path, layout, shape, strides, offset):
    storage = build.StorageMention("FloatStorage", "0", 6, *([None] if layout == "legacy" else []))
    content = build.pickled({"w": build.tensor(storage, shape, strides, offset)})
    if layout == "zip":
        path = build.zip_file(tmp_path / "a.pt", content, {"0": SIX_FLOATS})
    else:
        path = build.legacy_file(tmp_path / "a.pt", content, {"0": (6, SIX_FLOATS)})
    with pytest.raises(CheckpointError, match=r"storage|claims"):
        read_state(path)


@pytest.mark.parametrize("elements", [7, 2**40, 2**62], ids=["one more", "4 TB", "beyond any memory"])
@pytest.mark.parametrize("layout", ["zip", "legacy"])
def test_a_storage_larger_than_the_file_is_refused_before_it_is_allocated(tmp_path, layout, elements):
    storage = build.StorageMention("FloatStorage", "0", elements, *([None] if layout == "legacy" else []))
    content = build.pickled({"w": build.tensor(storage, (6,), (1,))})
    if layout == "zip":
        path = build.zip_file(tmp_path / "a.pt", content, {"0": SIX_FLOATS})
    else:
        path = build.legacy_file(tmp_path / "a.pt", content, {"0": (elements, SIX_FLOATS)})
    with pytest.raises(CheckpointError, match="truncated"):
        read_state(path)


@pytest.mark.parametrize("entry", ["data.pkl", "data/0"])
def test_a_zip_bomb_is_refused_before_it_is_unpacked(tmp_path, entry):
    path = tmp_path / "bomb.pt"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("archive/data.pkl", build.pickled({}))
        archive.writestr(f"archive/{entry}2", bytes(50_000_000))
    tracemalloc.start()
    with pytest.raises(CheckpointError, match="compressed"):
        read_state(path)
    assert tracemalloc.get_traced_memory()[1] < 5_000_000
    tracemalloc.stop()


def test_a_pickle_that_shares_itself_many_times_ends_soon(tmp_path):
    doubled = b"\x80\x02X\x01\x00\x00\x00a" + b"2\x86" * 200
    path = build.zip_file(tmp_path / "a.pt", b"\x80\x02}" + doubled[2:] + b"K\x01s.", {})
    with pytest.raises(CheckpointError):
        read_state(path)


def test_dictionaries_in_each_other_without_end_are_refused(tmp_path):
    content = b"\x80\x02" + b"}X\x05\x00\x00\x00model" * 50_000 + b"K\x01" + b"s" * 50_000 + b"."
    with pytest.raises(CheckpointError, match="no weights"):
        read_state(build.zip_file(tmp_path / "a.pt", content, {}))


def test_keys_cannot_break_the_line(tmp_path):
    tensor = build.tensor(build.StorageMention("FloatStorage", "0", 6), (6,), (1,))
    content = build.pickled({"a\n\x1b[31m": {"w": tensor}, "b\n": {"w": tensor}})
    with pytest.raises(CheckpointError, match="several sets") as caught:
        read_state(build.zip_file(tmp_path / "a.pt", content, {"0": SIX_FLOATS}))
    assert str(caught.value).isprintable()


def test_a_persistent_id_that_is_no_storage_is_refused(tmp_path):
    path = build.zip_file(tmp_path / "a.pt", b"\x80\x02X\x03\x00\x00\x00abcQ.", {})
    with pytest.raises(CheckpointError, match="damaged"):
        read_state(path)


@pytest.mark.parametrize("legacy", [False, True], ids=["zip", "legacy"])
def test_every_truncation_is_one_clear_line(tmp_path, legacy):
    whole, path = build.as_bytes(build.weights(), legacy=legacy), tmp_path / "t.pt"
    for length in range(0, len(whole), 7 if legacy else 29):
        path.write_bytes(whole[:length])
        with pytest.raises(CheckpointError) as caught:
            read_state(path)
        assert "\n" not in str(caught.value)
        assert str(path) in str(caught.value)


def test_a_flipped_bit_in_a_zip_is_noticed_by_its_checksum(tmp_path):
    path = tmp_path / "t.pt"
    content = build.pickled({"w": build.tensor(build.StorageMention("FloatStorage", "0", 6), (6,), (1,))})
    whole = build.zip_file(path, content, {"0": SIX_FLOATS}).read_bytes()
    position = whole.index(SIX_FLOATS) + 3
    path.write_bytes(whole[:position] + b"\x40" + whole[position + 1 :])
    with pytest.raises(CheckpointError, match="checksum"):
        read_state(path)


SEEDS = [build.as_bytes(build.weights()), build.as_bytes(build.weights(), legacy=True), pickle.dumps({"a": [1, 2.0]})]


def expect_tensors_or_a_clear_refusal(path: Path, content: bytes) -> None:
    path.write_bytes(content)
    with suppress(CheckpointError):
        assert all(isinstance(value, torch.Tensor) for value in read_state(path).tensors.values())


@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.sampled_from(SEEDS), st.lists(st.tuples(st.floats(0, 1), st.integers(0, 255)), min_size=1, max_size=6))
def test_changed_bytes_raise_nothing_but_a_checkpoint_error(tmp_path, seed, changes):
    content = bytearray(seed)
    for place, value in changes:
        content[int(place * (len(content) - 1))] = value
    expect_tensors_or_a_clear_refusal(tmp_path / "f.pt", bytes(content))


@settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.sampled_from([b"", b"\x80\x02", b"PK\x03\x04", build.MAGIC + build.PROTOCOL + build.SYSTEM]),
    st.binary(max_size=200),
)
def test_random_bytes_raise_nothing_but_a_checkpoint_error(tmp_path, beginning, rest):
    expect_tensors_or_a_clear_refusal(tmp_path / "f.pt", beginning + rest)
