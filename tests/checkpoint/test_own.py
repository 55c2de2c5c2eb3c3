import json

import pytest
import safetensors.torch
import torch
from torch import nn

from tinyml.architecture import Architecture
from tinyml.checkpoint import (
    compressed_files,
    compressed_from_files,
    load_compressed,
    read_state,
    save_compressed,
    save_trained,
)
from tinyml.errors import CheckpointError
from tinyml.manifest import write_manifest
from tinyml.models import create_model
from tinyml.sealed_json import from_sealed_json, write_sealed_json

LENET = Architecture(model="lenet-digits", input_shape=(1, 8, 8))


@pytest.fixture
def saved(tmp_path):
    module = create_model("lenet-digits")
    save_compressed(tmp_path, module, LENET)
    return tmp_path, module


def test_a_compressed_model_comes_back_as_it_was(saved):
    directory, module = saved
    loaded, architecture = load_compressed(directory)
    assert architecture == LENET
    assert not loaded.training
    assert all(torch.equal(loaded.state_dict()[name], tensor) for name, tensor in module.state_dict().items())


def test_a_compressed_model_comes_back_from_bytes_alone():
    module = create_model("lenet-digits")
    weights, text = compressed_files(module, LENET)
    loaded, architecture = compressed_from_files(weights, text)
    assert (architecture, loaded.training) == (LENET, False)
    assert all(torch.equal(loaded.state_dict()[name], tensor) for name, tensor in module.state_dict().items())
    with pytest.raises(CheckpointError, match="changed or damaged"):
        compressed_from_files(weights[:-1] + b"x", text)


def test_the_same_model_gives_the_same_bytes(saved, tmp_path_factory):
    directory, module = saved
    other = tmp_path_factory.mktemp("again")
    save_compressed(other, module, LENET)
    for name in ("architecture.json", "model.safetensors"):
        assert (other / name).read_bytes() == (directory / name).read_bytes()


def test_others_can_read_the_weights(saved):
    directory, module = saved
    read = safetensors.torch.load_file(directory / "model.safetensors")
    assert all(torch.equal(read[name], tensor) for name, tensor in module.state_dict().items())


@pytest.mark.parametrize("sealed", [False, True], ids=["lone folder", "sealed run"])
def test_every_flipped_bit_of_the_architecture_is_refused(saved, sealed):
    directory, _ = saved
    if sealed:
        write_manifest(directory, fingerprint={}, fields={})
    path = directory / "architecture.json"
    whole = path.read_bytes()
    for position in range(len(whole)):
        path.write_bytes(whole[:position] + bytes([whole[position] ^ (1 << position % 8)]) + whole[position + 1 :])
        with pytest.raises(CheckpointError):
            load_compressed(directory)


def test_a_flipped_bit_anywhere_in_the_weights_is_refused(saved):
    directory, _ = saved
    path = directory / "model.safetensors"
    whole = path.read_bytes()
    for position in [*range(0, 600, 7), *range(600, len(whole), len(whole) // 50), len(whole) - 1]:
        path.write_bytes(whole[:position] + bytes([whole[position] ^ 4]) + whole[position + 1 :])
        with pytest.raises(CheckpointError):
            load_compressed(directory)


def test_files_of_two_models_do_not_pass_as_one(saved, tmp_path_factory):
    directory, _ = saved
    other = tmp_path_factory.mktemp("other")
    save_compressed(other, create_model("lenet-digits"), LENET)
    (directory / "model.safetensors").write_bytes((other / "model.safetensors").read_bytes())
    with pytest.raises(CheckpointError, match="SHA-256"):
        load_compressed(directory)


def test_a_pair_that_was_exchanged_in_a_sealed_run_is_refused(saved, tmp_path_factory):
    directory, _ = saved
    write_manifest(directory, fingerprint={}, fields={})
    save_compressed(directory, create_model("lenet-digits"), LENET)
    with pytest.raises(CheckpointError, match="after the run was sealed"):
        load_compressed(directory)


def test_another_version_is_refused_with_the_cure(saved):
    directory, _ = saved
    path = directory / "architecture.json"
    payload = from_sealed_json(path.read_text(), source=path, error=CheckpointError)
    write_sealed_json(path, {**payload, "version": 99})
    with pytest.raises(CheckpointError, match=r"version 99.*Use the version"):
        load_compressed(directory)


def test_a_missing_half_is_said(saved):
    directory, _ = saved
    (directory / "model.safetensors").unlink()
    with pytest.raises(CheckpointError, match=r"'.*model\.safetensors' is missing"):
        load_compressed(directory)


def test_weights_that_do_not_fit_the_architecture_are_refused(tmp_path):
    save_compressed(tmp_path, nn.Linear(2, 2), LENET)
    with pytest.raises(CheckpointError, match="missing"):
        load_compressed(tmp_path)


def test_tied_weights_are_kept(tmp_path):
    tied = nn.ModuleDict({"a": nn.Linear(2, 2, bias=False), "b": nn.Linear(2, 2, bias=False)})
    tied["b"].weight = tied["a"].weight
    save_trained(tmp_path / "t.safetensors", tied, {})
    tensors = read_state(tmp_path / "t.safetensors").tensors
    assert torch.equal(tensors["a.weight"], tensors["b.weight"])


def test_trained_weights_say_what_they_are(tmp_path):
    save_trained(tmp_path / "t.safetensors", nn.Linear(2, 2), {"model": "lenet-digits", "model_args": json.dumps({})})
    metadata = read_state(tmp_path / "t.safetensors").metadata
    assert (metadata["model"], metadata["model_args"]) == ("lenet-digits", "{}")


def test_every_flipped_bit_of_trained_weights_is_refused(tmp_path):
    path = tmp_path / "t.safetensors"
    save_trained(path, nn.PReLU(), {"model": "é"})
    whole = path.read_bytes()
    for position in range(len(whole)):
        for bit in range(8):
            path.write_bytes(whole[:position] + bytes([whole[position] ^ (1 << bit)]) + whole[position + 1 :])
            with pytest.raises(CheckpointError):
                read_state(path)
