"""weight_pruning on models that nobody here ships: the file, the zeros, and what later passes make of them."""

import inspect
from pathlib import Path

import numpy as np
import pytest
import torch
import user_models
from random_task import random_context, random_task, trained, uncompressed
from torch import nn

from tinyml.analysis.onnx_weights import weights_of
from tinyml.architecture import build
from tinyml.export import to_onnx
from tinyml.layers.mask import masks
from tinyml.measure.network import read_network
from tinyml.measure.parameters import parameters_nonzero
from tinyml.passes.base import Compressed, Pass
from tinyml.passes.half_precision import HalfPrecisionPass
from tinyml.passes.linear_quantization import Calibration, LinearQuantization
from tinyml.passes.weight_pruning import WeightPruning
from tinyml.runtime.session import logits, open_session
from tinyml.target import load_target

IMAGE = (3, 32, 32)
SHAPES = {"signal": (1, 128)}
FAST = ("mixed", "mlp", "data_dependent")
FACTORIES = [
    pytest.param(
        (name, scope), marks=[] if name in FAST and scope == "global" else [pytest.mark.slow], id=f"{name} {scope}"
    )
    for name, factory in inspect.getmembers(user_models, inspect.isfunction)
    if factory.__module__ == "user_models"
    for scope in ("global", "uniform")
]


def passed(step: Pass, model: Compressed) -> Compressed:
    context = random_context(model.architecture.input_shape)
    step.requires(model, context)
    after = step.apply(model, context)
    step.ensures(model, after)
    return after


def file_of(model: Compressed, folder: Path, *, target: str = "x86-avx2") -> Path:
    path = folder / "model.onnx"
    onnx_model = to_onnx(model.module, input_shape=model.architecture.input_shape, target=load_target(target))
    path.write_bytes(onnx_model.SerializeToString())
    return path


def zeros_by_layer(model: Compressed) -> dict[str, int]:
    return {name: int((model.module.get_submodule(name).weight == 0).sum()) for name, _ in masks(model.module)}


def numel_by_layer(model: Compressed) -> dict[str, int]:
    return {name: mask.mask.numel() for name, mask in masks(model.module)}


class Finished:
    """A user's model after pruning and export."""

    def __init__(self, name: str, scope: str, folder: Path) -> None:
        torch.manual_seed(0)
        self.scope, self.shape = scope, SHAPES.get(name, IMAGE)
        self.model = uncompressed(trained(getattr(user_models, name)()), self.shape, factory=f"user_models:{name}")
        self.before = {key: tensor.clone() for key, tensor in self.model.module.state_dict().items()}
        self.after = passed(WeightPruning(sparsity=0.7, scope=scope), self.model)
        self.file = file_of(self.after, folder)
        self.x = random_task(self.shape).train.x[:8]

    def outputs(self, module: nn.Module) -> np.ndarray:
        with torch.no_grad():
            return module(torch.from_numpy(self.x)).numpy()


@pytest.fixture(scope="module", params=FACTORIES)
def finished(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Finished:
    return Finished(*request.param, tmp_path_factory.mktemp("sparse"))


def test_the_file_computes_what_the_torch_model_computes(finished: Finished):
    """Float32 sums in another order: the contract allows 1e-3 of the logits' range, they differ by about 1e-7."""
    expected = finished.outputs(finished.after.module)
    found = logits(open_session(finished.file.read_bytes()), finished.x)
    assert np.abs(found - expected).max() <= 1e-5 * np.ptp(expected)


def test_exactly_the_share_of_the_weights_is_zero(finished: Finished):
    zeros, numel = zeros_by_layer(finished.after), numel_by_layer(finished.after)
    if finished.scope == "uniform":
        assert zeros == {name: round(0.7 * count) for name, count in numel.items()}
    else:
        assert sum(zeros.values()) == round(0.7 * sum(numel.values()))


def test_every_layer_has_its_zeros_in_the_file(finished: Finished):
    """Counts alone are compared: the exporter renames the weights of linear layers over tokens."""
    stored = weights_of(finished.file).values()
    counts = [int((layer.values == 0).sum()) for layer in stored]
    assert sorted(count for count in counts if count) == sorted(zeros_by_layer(finished.after).values())


def test_the_file_has_as_many_zeros_more_as_were_asked_for(finished: Finished, tmp_path: Path):
    dense, sparse = (
        parameters_nonzero(read_network(path, finished.shape)).value
        for path in (file_of(finished.model, tmp_path), finished.file)
    )
    assert dense - sparse == sum(zeros_by_layer(finished.after).values())


def test_the_callers_model_is_untouched(finished: Finished):
    after = finished.model.module.state_dict()
    assert list(after) == list(finished.before)
    assert all(torch.equal(after[key], tensor) for key, tensor in finished.before.items())


def test_it_is_rebuilt_from_its_architecture_and_weights(finished: Finished):
    rebuilt = build(finished.after.architecture)
    rebuilt.load_state_dict(finished.after.module.state_dict(), strict=True)
    assert np.array_equal(finished.outputs(rebuilt), finished.outputs(finished.after.module))


def test_quantization_keeps_the_zeros(finished: Finished, tmp_path: Path):
    int8 = passed(LinearQuantization(calibration=Calibration(method="minmax", images=32)), finished.after)
    for name, mask in masks(int8.module):
        assert not int8.module.get_submodule(name).weight[~mask.mask].any()
    expected = finished.outputs(int8.module)
    found = logits(open_session(file_of(int8, tmp_path).read_bytes()), finished.x)
    assert np.abs(found - expected).max() <= 2 / 255 * np.ptp(expected)  # as in test_linear_quantization


def test_half_precision_keeps_the_zeros(finished: Finished, tmp_path: Path):
    half = passed(HalfPrecisionPass(), finished.after)
    expected = sorted(int(mask.zeros) for _, mask in masks(half.module))
    stored = weights_of(file_of(half, tmp_path, target="cuda")).values()
    counts = sorted(int((layer.values == 0).sum()) for layer in stored if not layer.values.all())
    assert len(counts) == len(expected)
    assert all(count >= zeros for count, zeros in zip(counts, expected, strict=True))  # tiny weights become zero, too
