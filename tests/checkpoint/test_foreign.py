import argparse
import datetime
from pathlib import Path

import attack_files as build
import numpy as np
import pytest
import safetensors.torch
import torch
from torch import nn

from tinyml.checkpoint import load_into, read_state
from tinyml.models import create_model

SHARED = Path(__file__).parents[2].parent / "shared" / "data"


def expect_equal(state, expected):
    assert state.tensors.keys() == expected.keys()
    assert all(torch.equal(state.tensors[name], tensor) for name, tensor in expected.items())


@pytest.mark.parametrize("legacy", [False, True], ids=["zip", "legacy"])
@pytest.mark.parametrize("suffix", [".pt", ".pth", ".th", ".pth.tar", ".bin", ".ckpt"])
def test_both_formats_of_torch_are_read_under_every_name(tmp_path, suffix, legacy):
    state = read_state(build.saved(tmp_path / f"é{suffix}", build.weights(), legacy=legacy))
    expect_equal(state, build.weights())
    assert state.notes == ()


def test_safetensors_come_in_the_order_of_the_file(tmp_path):
    names = [f"layer{index:02}" for index in range(30)]
    safetensors.torch.save_file({name: torch.ones(1) for name in names}, tmp_path / "w.safetensors")
    assert list(read_state(tmp_path / "w.safetensors").tensors) == names


def test_safetensors_are_read(tmp_path):
    safetensors.torch.save_file(dict(build.weights()), tmp_path / "w.safetensors", metadata={"format": "pt"})
    expect_equal(read_state(tmp_path / "w.safetensors"), build.weights())


def test_the_content_counts_and_not_the_suffix(tmp_path):
    expect_equal(read_state(build.saved(tmp_path / "w.safetensors", build.weights())), build.weights())


@pytest.mark.parametrize("protocol", [2, 3, 4, 5])
def test_every_pickle_protocol_is_read(tmp_path, protocol):
    torch.save(build.weights(), tmp_path / "w.pt", pickle_protocol=protocol)
    expect_equal(read_state(tmp_path / "w.pt"), build.weights())


@pytest.mark.parametrize("legacy", [False, True], ids=["zip", "legacy"])
@pytest.mark.parametrize(
    "dtype",
    [torch.float64, torch.float16, torch.bfloat16, torch.int64, torch.int8, torch.uint8, torch.bool, torch.complex64],
    ids=str,
)
def test_every_type_is_read(tmp_path, dtype, legacy):
    expected = {"w": torch.tensor([[0, 1, 1], [1, 0, 0]]).to(dtype)}
    expect_equal(read_state(build.saved(tmp_path / "w.pt", expected, legacy=legacy)), expected)


@pytest.mark.parametrize("dtype", [torch.uint16, torch.uint32, torch.uint64, torch.float8_e4m3fn], ids=str)
def test_new_types_are_read(tmp_path, dtype):
    expected = torch.tensor([0.0, 1.0, 2.0]).to(dtype)
    got = read_state(build.saved(tmp_path / "w.pt", {"w": expected})).tensors["w"]
    assert got.dtype == dtype
    assert torch.equal(got.view(torch.uint8), expected.view(torch.uint8))


@pytest.mark.parametrize("legacy", [False, True], ids=["zip", "legacy"])
def test_views_and_shared_storages_are_read(tmp_path, legacy):
    base = torch.arange(12.0).reshape(3, 4)
    expected = {
        "whole": base,
        "column": base[:, 1],
        "turned": base.T,
        "tail": base[1:],
        "one": torch.tensor(7),
        "none": torch.empty(0, 3),
    }
    expect_equal(read_state(build.saved(tmp_path / "w.pt", expected, legacy=legacy)), expected)


def test_parameters_and_tensors_with_attributes_are_read(tmp_path):
    parameter, marked = nn.Parameter(torch.ones(2)), torch.zeros(2)
    parameter.tag, marked.tag = "a", "b"
    path = build.saved(tmp_path / "w.pt", {"p": nn.Parameter(torch.ones(1)), "q": parameter, "m": marked})
    expect_equal(read_state(path), {"p": torch.ones(1), "q": torch.ones(2), "m": torch.zeros(2)})


def test_files_without_checksums_are_read(tmp_path):
    torch.serialization.set_crc32_options(False)
    try:
        expect_equal(read_state(build.saved(tmp_path / "w.pt", build.weights())), build.weights())
    finally:
        torch.serialization.set_crc32_options(True)


def test_plain_values_of_a_training_are_left_out_and_said(tmp_path):
    optimizer = torch.optim.Adam(nn.Linear(2, 2).parameters())
    checkpoint = {
        "epoch": 3,
        "args": argparse.Namespace(path=Path("a"), when=datetime.datetime(2020, 1, 1)),
        "best": np.float64(0.5),
        "history": np.zeros(3),
        "optimizer": optimizer.state_dict(),
        "state_dict": build.weights(),
    }
    state = read_state(build.saved(tmp_path / "w.pt", checkpoint))
    expect_equal(state, build.weights())
    assert state.notes == ("took 'state_dict', left out 'epoch', 'args', 'best', 'history', 'optimizer'",)


@pytest.mark.parametrize(
    ("file", "model", "score"),
    [("resnet20-12fca82f.th", "resnet20-cifar", 97), ("resnet32-d509ac18.th", "resnet32-cifar", 157)],
    ids=["ResNet-20", "ResNet-32"],
)
def test_the_published_checkpoints_load_and_equal_what_torch_reads(file, model, score):
    if not SHARED.is_dir():
        pytest.skip("the development data is not here")
    state = read_state(SHARED / file)
    assert load_into(create_model(model), state, source=SHARED / file) == ()
    assert len(state.tensors) == score
    trusted = torch.load(SHARED / file, map_location="cpu", weights_only=True)["state_dict"]
    expect_equal(state, {name.removeprefix("module."): tensor for name, tensor in trusted.items()})
