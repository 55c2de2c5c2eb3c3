"""Quantization-aware training with the real commands on the digits: what is trained is what ships."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import tinyml as package
from tinyml.analysis.onnx_weights import weights_of
from tinyml.layers.attachment import attachment_faults
from tinyml.layers.mask import masks
from tinyml.runtime.session import logits, open_session

Run = Callable[..., Any]
LAYERS = ("conv1", "conv2", "linear1", "linear2")
QUANTIZED = "linear_quantization: {weight_bits: 2, calibration: {images: 128}}"
TRAINED = "fine_tuning: {epochs: 4, learning_rate: 0.02, weight_decay: 0.0001, gradient_clip: 1.0}"
RECIPES = {
    "w2a8": [QUANTIZED, TRAINED],
    "sparse-w2a8": ["weight_pruning: {sparsity: 0.5}", QUANTIZED, TRAINED],
    "w2a8-untrained": [QUANTIZED],
    "kmeans-int8": [
        "kmeans_quantization: {bits: 3}",
        "linear_quantization: {calibration: {images: 128}}",
        "fine_tuning: {epochs: 1, learning_rate: 0.002, gradient_clip: 1.0}",
    ],
}


@pytest.fixture(scope="module")
def run_of(digits_run: Callable[..., Path]) -> Callable[[str], Path]:
    """Return a function that gives the run directory of the recipe of that name."""
    return lambda name: digits_run(name, RECIPES[name])


def accuracies(run: Path) -> tuple[float, float]:
    """The accuracy of the baseline's file and of the model's."""
    measured = json.loads((run / "metrics.json").read_text())
    return measured["baseline"]["accuracy"]["value"], measured["model"]["accuracy"]["value"]


def test_three_values_a_channel_are_nearly_as_right_as_the_dense_network(run_of: Callable[[str], Path]):
    dense, ternary = accuracies(run_of("w2a8"))
    assert ternary >= dense - 0.03
    assert ternary >= accuracies(run_of("w2a8-untrained"))[1] + 0.02


def stored_as_trained(run: Path) -> dict[str, tuple[np.ndarray, torch.nn.Module]]:
    """The weights in the file, each in the shape of its layer's, with the layer; linear ones are stored transposed."""
    module, stored = package.load(run)[0], weights_of(run / "model.onnx")
    layers = {name: module.get_submodule(name) for name in LAYERS}
    return {
        name: (stored[name].values if stored[name].values.shape == layer.weight.shape else stored[name].values.T, layer)
        for name, layer in layers.items()
    }


def test_the_file_holds_three_values_a_channel_and_they_are_those_of_the_trained_network(run_of: Callable[[str], Path]):
    for values, layer in stored_as_trained(run_of("w2a8")).values():
        assert np.array_equal(values, layer.weight.detach().numpy())
        assert all(len(np.unique(row)) <= 3 for row in values)


def test_the_trained_network_and_the_file_give_the_same_answers(run_of: Callable[[str], Path]):
    module, task = package.load(run_of("w2a8"))[0], package.load_task("digits")
    x = task.inputs(task.test.x)
    with torch.no_grad():
        expected = module(torch.from_numpy(x)).numpy()
    found = logits(open_session(run_of("w2a8") / "model.onnx"), x)
    assert (found.argmax(1) == expected.argmax(1)).mean() >= 0.995


@pytest.mark.slow
def test_the_masks_of_a_pruned_network_are_in_the_file(run_of: Callable[[str], Path]):
    stored = stored_as_trained(run_of("sparse-w2a8"))
    for values, layer in stored.values():
        assert attachment_faults(layer) == []
        ((_, mask),) = masks(layer)
        assert not values[~mask.mask.numpy()].any()


@pytest.mark.slow
def test_centroids_that_become_integers_are_trained_with_them(run_of: Callable[[str], Path]):
    run = run_of("kmeans-int8")
    dense, small = accuracies(run)
    assert small >= dense - 0.03
    for name in LAYERS:
        layer = package.load(run)[0].get_submodule(name)
        kinds = [type(each).__name__ for each in layer.parametrizations.weight]
        assert kinds in (["Codebook", "WeightQuantizer"], ["Codebook", "ChannelScale", "WeightQuantizer"])


def test_the_run_verifies(tinyml: Run, run_of: Callable[[str], Path]):
    assert tinyml("verify", run_of("w2a8"), "--data", "digits").code == 0
