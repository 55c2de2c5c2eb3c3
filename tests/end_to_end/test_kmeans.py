"""k-means quantization with the real commands and the real trainer, on the digits: few values from the pass to the file."""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from memory_store import Memory
from torch import nn

import tinyml as package
from tinyml.analysis.onnx_weights import weights_of
from tinyml.architecture import Architecture
from tinyml.checkpoint import load_into, read_state
from tinyml.data import Task
from tinyml.layers.attachment import attachment_faults
from tinyml.layers.codebook import codebooks
from tinyml.models import create_model
from tinyml.passes.base import Compressed, Context
from tinyml.passes.kmeans_quantization import KmeansQuantization
from tinyml.passes.weight_pruning import WeightPruning
from tinyml.progress import Silent
from tinyml.target import load_target
from tinyml.training import Position, TrainingSettings, evaluate, train

Run = Callable[..., Any]
LAYERS = ["conv1", "conv2", "linear1", "linear2"]


@pytest.fixture(scope="module")
def digits() -> Task:
    return package.load_task("digits")


@pytest.fixture
def dense(digits_checkpoint: Path) -> Compressed:
    module = create_model("lenet-digits", {}).eval()
    load_into(module, read_state(digits_checkpoint), source=digits_checkpoint)
    return Compressed(module=module, architecture=Architecture(model="lenet-digits", input_shape=(1, 8, 8)))


def passed(model: Compressed, digits: Task, *steps: KmeansQuantization | WeightPruning) -> nn.Module:
    context = Context(
        task=digits, target=load_target("cpu"), teacher=model.module, seed=0, device="cpu", progress=Silent()
    )
    for step in steps:
        step.requires(model, context)
        after = step.apply(model, context)
        step.ensures(model, after)
        model = after
    return model.module


def values(module: nn.Module) -> dict[str, int]:
    return {name: len(module.get_submodule(name).weight.unique()) for name, _ in codebooks(module)}


WAYS = {
    "mean": KmeansQuantization(bits=2),
    "mean with reassignment": KmeansQuantization(bits=2, reassign_every=3),
    "gradient": KmeansQuantization(bits=2, training="gradient"),
    "soft": KmeansQuantization(bits=2, training="soft"),
    "codebooks of four channels": KmeansQuantization(bits=1, channels_per_codebook=4),
}
TRAININGS = {
    "sgd with momentum and decay": TrainingSettings(epochs=2, optimizer="sgd", learning_rate=0.02, weight_decay=5e-3),
    "adamw": TrainingSettings(epochs=2, optimizer="adamw", learning_rate=0.002, weight_decay=0.05),
    "averaged weights": TrainingSettings(epochs=2, learning_rate=0.02, ema_decay=0.9),
}


PAIRS = [
    pytest.param(way, settings, marks=[] if "sgd" in how and key != "soft" else [pytest.mark.slow], id=f"{key}, {how}")
    for key, way in WAYS.items()
    for how, settings in TRAININGS.items()
]


@pytest.mark.parametrize(("way", "settings"), PAIRS)
def test_training_moves_centroids_and_adds_no_value(
    dense: Compressed, digits: Task, way: KmeansQuantization, settings: TrainingSettings
):
    module = passed(dense, digits, way)
    before = {name: codebook.centroids.detach().clone() for name, codebook in codebooks(module)}
    train(module, digits, settings)
    assert attachment_faults(module) == []
    for name, codebook in codebooks(module):
        assert not torch.equal(codebook.centroids, before[name])
        runs = module.get_submodule(name).weight.reshape(codebook.groups, -1)
        assert max(len(run.unique()) for run in runs) <= 2**way.bits


@pytest.mark.slow
@pytest.mark.parametrize("way", list(WAYS.values())[:4], ids=list(WAYS)[:4])
def test_training_recovers_half_of_what_two_bits_lose(dense: Compressed, digits: Task, way: KmeansQuantization):
    module = passed(dense, digits, way)
    untrained = evaluate(module, digits, digits.test).score
    train(module, digits, TrainingSettings(epochs=8, learning_rate=0.02))
    lost = evaluate(dense.module, digits, digits.test).score - untrained
    assert evaluate(module, digits, digits.test).score >= untrained + lost / 2


@pytest.mark.parametrize("way", list(WAYS.values())[:4], ids=list(WAYS)[:4])
def test_the_zeros_of_a_mask_are_exactly_zero_after_training(dense: Compressed, digits: Task, way: KmeansQuantization):
    sparse = WeightPruning(sparsity=0.7)
    zero = {name: passed(dense, digits, sparse).get_submodule(name).weight == 0 for name in LAYERS}
    module = passed(dense, digits, sparse, way)
    train(module, digits, TrainingSettings(epochs=2, learning_rate=0.02, weight_decay=5e-3))
    assert all(torch.equal(module.get_submodule(name).weight == 0, zero[name]) for name in LAYERS)
    assert set(values(module).values()) <= {1, 2, 3, 4}


def kill_at(step: int) -> Callable[[nn.Module, Position], None]:
    def hook(_: nn.Module, position: Position) -> None:
        if position.step == step:
            raise KeyboardInterrupt

    return hook


@pytest.mark.parametrize("way", list(WAYS.values())[1:4], ids=list(WAYS)[1:4])
def test_a_training_that_was_interrupted_ends_with_the_same_codebooks(
    dense: Compressed, digits: Task, way: KmeansQuantization
):
    task, settings = replace(digits, validation=None), TrainingSettings(epochs=2, learning_rate=0.02)
    whole, parts, again = (passed(dense, digits, way) for _ in range(3))
    train(whole, task, settings)
    store = Memory()
    with pytest.raises(KeyboardInterrupt):
        train(parts, task, settings, store=store, save_interval_s=0, on_step=[kill_at(20)])
    train(again, task, settings, store=store)
    assert all(torch.equal(tensor, again.state_dict()[name]) for name, tensor in whole.state_dict().items())


PASSES = (
    "weight_pruning: {sparsity: 0.5}",
    "kmeans_quantization: {bits: 3, layers: {conv1: {bits: 5}}}",
    "fine_tuning: {epochs: 2, learning_rate: 0.02}",
)


@pytest.fixture(scope="module")
def clustered_run(digits_run: Callable[..., Path]) -> Path:
    """The run directory of that network, half of it pruned, clustered and fine-tuned."""
    return digits_run("sparse-kmeans", PASSES, target="cpu")


def test_the_file_that_ships_has_the_values_of_the_codebooks(clustered_run: Path):
    """In the file a factor for each output channel may stand behind the codebook, never another value within one."""
    module, stored = package.load(clustered_run)[0], weights_of(clustered_run / "model.onnx")
    assert sorted(stored) == LAYERS
    assert values(module) == {"conv1": 32, "conv2": 8, "linear1": 8, "linear2": 8}
    for name, layer in stored.items():
        shipped = module.get_submodule(name).weight.detach().numpy()
        found = layer.values if layer.values.shape == shipped.shape else layer.values.T
        assert np.array_equal(found == 0, shipped == 0)
        assert max(len(np.unique(channel)) for channel in found) <= values(module)[name]


def test_the_run_verifies_and_tells_what_it_did(tinyml: Run, clustered_run: Path):
    assert tinyml("verify", clustered_run, "--data", "digits").code == 0
    events = [json.loads(line) for line in (clustered_run / "history.jsonl").read_text().splitlines()]
    told = [(event["layers"], event["weights"]) for event in events if event["event"] == "codebooks"]
    assert told == [(4, 38160)]


@pytest.mark.parametrize("step", ["kmeans_quantization", "weight_pruning", "channel_pruning: {keep_macs: 0.5}"])
def test_a_clustered_run_is_neither_clustered_nor_pruned_again(
    tinyml: Run, clustered_run: Path, tmp_path: Path, step: str
):
    recipe = tmp_path / "again.yaml"
    recipe.write_text(f"version: 1\nname: again\npasses: [{step}]\n")
    told = tinyml("compress", clustered_run, "--recipe", recipe, "--data", "digits", "-o", tmp_path / "again")
    assert (told.code, "the weights are codes already" in told.err or "put it before" in told.err) == (2, True)
