"""fine_tuning of a quantized network: scales are trained, grids, masks and frozen layers kept, biases snapped."""

from dataclasses import replace

import pytest
import torch
from digits_students import DIGITS, differing, noise, state, student, tuned
from random_task import random_context

from tinyml.errors import TinymlError
from tinyml.layers.attachment import attachment_faults
from tinyml.layers.integer_layers import integer_layers
from tinyml.layers.mask import masks
from tinyml.layers.quantizers import ActivationQuantizer, weight_quantizers
from tinyml.passes import Compressed
from tinyml.passes.fine_tuning import FineTuning
from tinyml.passes.linear_quantization import Calibration, LinearQuantization
from tinyml.passes.weight_pruning import WeightPruning
from tinyml.training import EpochRecord, TrainingResult, TrainingSettings


def quantized_digits(**settings: object) -> Compressed:
    step = LinearQuantization(calibration=Calibration(images=64), **settings)  # type: ignore[arg-type]  # its fields
    context = random_context(DIGITS, target="x86-vnni")
    return step.apply(student(), context)


@pytest.mark.parametrize("settings", [{"weight_bits": 2}, {"weight_bits": 4, "activation_bits": 4}], ids=["W2", "W4A4"])
@pytest.mark.parametrize("optimizer", ["sgd", "adamw"])
def test_a_quantized_network_is_trained_with_its_scales_and_stays_on_its_grids(settings: dict, optimizer: str) -> None:
    before = quantized_digits(**settings)
    after = tuned(FineTuning(epochs=2, batch_size=16, optimizer=optimizer), before, noise())
    moved = differing(state(before), state(after))
    scales = {name for name in moved if name.endswith(".scale")}
    assert {name for name, tensor in before.module.named_parameters() if tensor.ndim > 1} <= moved
    assert len(scales) == len([name for name in state(before) if name.endswith(".scale")]) > 4
    for quantizer, weight in weight_quantizers(after.module).values():
        quantizer.freeze(weight)
        assert int(quantizer.codes.abs().max()) <= quantizer.grid.q_max
    assert attachment_faults(after.module) == []


def test_after_the_training_biases_lie_on_the_grid_that_the_file_stores_them_on() -> None:
    after = tuned(FineTuning(epochs=1, batch_size=16), quantized_digits(), noise())
    for layer in integer_layers(after.module):
        step = layer.input_quantizers[0].scale.item() * layer.weight_quantizer.scale.detach().double()
        codes = layer.layer.bias.detach().double() / step  # type: ignore[union-attr]  # a tensor
        assert torch.allclose(codes, codes.round(), rtol=2**-23, atol=0)  # a bias is float32


def test_a_frozen_quantized_layer_keeps_its_weights_scales_and_bias() -> None:
    before = quantized_digits()
    after = tuned(FineTuning(epochs=1, batch_size=16, freeze=("conv1",)), before, noise())
    moved = differing(state(before), state(after))
    assert not {name for name in moved if name.startswith("conv1.")}
    assert any(name.startswith("conv2.") for name in moved)


def test_masks_stay_under_a_quantizer_that_is_trained() -> None:
    pruned = WeightPruning(sparsity=0.5).apply(student(), noise())
    before = LinearQuantization(weight_bits=4, calibration=Calibration(images=64)).apply(pruned, noise())
    after = tuned(FineTuning(epochs=1, batch_size=16), before, noise())
    for name, mask in masks(after.module):
        assert not after.module.get_submodule(name).weight[~mask.mask].any()  # type: ignore[index]  # a tensor


def test_a_scale_that_a_training_lost_is_told() -> None:
    before, after = quantized_digits(), quantized_digits()
    next(part for part in after.module.modules() if isinstance(part, ActivationQuantizer)).scale.data.fill_(-1.0)
    with pytest.raises(TinymlError, match=r"is -1, not positive.*lower the learning rate"):
        FineTuning().ensures(before, after)


def test_a_scale_that_is_lost_is_told_after_the_epoch(caplog: pytest.LogCaptureFixture) -> None:
    before = quantized_digits()
    next(part for part in before.module.modules() if isinstance(part, ActivationQuantizer)).scale.data.fill_(-1.0)
    FineTuning(epochs=1, batch_size=16, learning_rate=1e-6).apply(before, noise())
    assert "after epoch 1 the scale of activation_quantizers" in caplog.text


@pytest.mark.parametrize(
    ("asked", "quantized", "used"),
    [(None, True, 1.0), (None, False, 0.0), (0.0, True, 0.0), (3.0, False, 3.0)],
    ids=["behind quantization", "in float", "switched off", "as asked"],
)
def test_gradients_are_clipped_behind_quantization(
    monkeypatch: pytest.MonkeyPatch, asked: float | None, quantized: bool, used: float
):
    clips = []

    def untrained(*arguments: object, **_: object) -> TrainingResult:
        settings = arguments[2]
        assert isinstance(settings, TrainingSettings)
        clips.append(settings.gradient_clip)
        return TrainingResult(history=(record(0.9),), best_epoch=1)

    monkeypatch.setattr("tinyml.passes.fine_tuning.train", untrained)
    before = quantized_digits() if quantized else student()
    FineTuning(epochs=1, gradient_clip=asked).apply(before, noise())
    assert clips == [used]


@pytest.mark.parametrize(("score", "warned"), [(0.0, True), (1.0, False)], ids=["worse", "better"])
def test_a_training_that_made_the_network_worse_is_told(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, score: float, warned: bool
):
    result = TrainingResult(history=(record(score),), best_epoch=1)
    monkeypatch.setattr("tinyml.passes.fine_tuning.train", lambda *_, **__: result)
    context = noise()
    assert context.task is not None
    task = replace(context.task, validation=context.task.train)
    FineTuning(epochs=1).apply(student(), replace(context, task=task))
    assert ("no epoch scored as high on validation" in caplog.text) is warned


def record(score: float) -> EpochRecord:
    return EpochRecord(epoch=1, loss=1.0, validation_score=score, images_per_second=1.0)
