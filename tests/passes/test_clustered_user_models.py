"""kmeans_quantization on models that nobody here ships: the file, training, and what stays in float."""

import inspect

import numpy as np
import pytest
import torch
import torch.nn.functional as F
import user_models
from random_task import random_context, random_task, trained, uncompressed
from torch import Tensor, nn

from tinyml.architecture import build
from tinyml.export import to_onnx
from tinyml.layers.attachment import advance, attachment_faults
from tinyml.layers.codebook import codebooks
from tinyml.passes.base import Compressed, Pass
from tinyml.passes.kmeans_quantization import KmeansQuantization
from tinyml.passes.weight_pruning import WeightPruning
from tinyml.runtime.session import logits, open_session
from tinyml.target import load_target

IMAGE = (3, 32, 32)
SHAPES = {"signal": (1, 128)}
FAST = ("mixed", "mlp", "data_dependent")
FACTORIES = [
    pytest.param(name, marks=[] if name in FAST else [pytest.mark.slow], id=name)
    for name, factory in inspect.getmembers(user_models, inspect.isfunction)
    if factory.__module__ == "user_models"
]
every_model = pytest.mark.parametrize("name", FACTORIES)


def passed(step: Pass, model: Compressed) -> Compressed:
    context = random_context(model.architecture.input_shape)
    step.requires(model, context)
    after = step.apply(model, context)
    step.ensures(model, after)
    return after


def start(name: str) -> Compressed:
    torch.manual_seed(0)
    return uncompressed(trained(getattr(user_models, name)()), SHAPES.get(name, IMAGE), factory=f"user_models:{name}")


def images(model: Compressed) -> Tensor:
    return torch.from_numpy(random_task(model.architecture.input_shape).train.x[:8])


def trained_a_step(model: Compressed) -> nn.Module:
    """The network after one step of gradient descent with all that is attached, in evaluation."""
    module = model.copy().module.train()
    F.cross_entropy(module(images(model)), torch.arange(8)).backward()
    with torch.no_grad():
        for parameter in module.parameters():
            if parameter.grad is not None:
                parameter -= 0.01 * parameter.grad
    advance(module, 1.0)
    return module.eval()


@every_model
def test_the_file_computes_what_the_torch_model_computes(name: str) -> None:
    """Float32 sums in another order: the contract allows 1e-3 of the logits' range, they differ by about 1e-7."""
    after = passed(KmeansQuantization(bits=3, channels_per_codebook=8), start(name))
    model = to_onnx(after.module, input_shape=after.architecture.input_shape, target=load_target("cpu"))
    found = logits(open_session(model.SerializeToString()), images(after).numpy())
    expected = after.module(images(after)).detach().numpy()
    assert np.abs(found - expected).max() <= 1e-5 * np.ptp(expected)


@every_model
@pytest.mark.parametrize("training", ["mean", "gradient", "soft"])
def test_a_step_of_training_moves_the_centroids_and_keeps_the_promise(name: str, training: str) -> None:
    after = passed(KmeansQuantization(bits=2, training=training), start(name))
    module = trained_a_step(after)
    assert attachment_faults(module) == []
    for layer, codebook in codebooks(module):
        assert not torch.equal(codebook.centroids, dict(codebooks(after.module))[layer].centroids)
        assert len(module.get_submodule(layer).weight.unique()) <= 4


@every_model
def test_the_zeros_of_a_mask_stay_through_training(name: str) -> None:
    sparse = passed(WeightPruning(sparsity=0.7), start(name))
    module = trained_a_step(passed(KmeansQuantization(bits=2, reassign_every=1), sparse))
    for layer, _ in codebooks(module):
        zero = sparse.module.get_submodule(layer).weight == 0
        assert torch.equal(module.get_submodule(layer).weight == 0, zero)


@every_model
def test_it_is_rebuilt_from_its_architecture_and_weights(name: str) -> None:
    after = passed(KmeansQuantization(bits=4), start(name))
    rebuilt = build(after.architecture)
    rebuilt.load_state_dict(after.module.state_dict(), strict=True)
    assert torch.equal(rebuilt(images(after)), after.module(images(after)))


@every_model
def test_every_layer_with_a_weight_has_a_codebook_or_a_reason(name: str) -> None:
    after = passed(KmeansQuantization(bits=4), start(name))
    layers = {
        layer
        for layer, module in after.module.named_modules()
        if isinstance(getattr(module, "weight", None), Tensor) and module.weight.ndim > 1
    }
    listed = {item.module for item in after.left_alone}
    assert layers - {layer for layer, _ in codebooks(after.module)} <= listed
