from dataclasses import replace

import numpy as np
import pytest
import torch
import user_models
from pydantic import JsonValue
from random_task import random_context, random_task, trained, uncompressed
from torch import Tensor, nn

from tinyml.architecture import build
from tinyml.errors import DataError, RecipeError
from tinyml.export import to_onnx
from tinyml.passes.base import Compressed
from tinyml.passes.linear_quantization import Calibration, LinearQuantization
from tinyml.passes.post_training.adaround import AdaRound
from tinyml.runtime.session import logits, open_session
from tinyml.target import load_target

IMAGE = (3, 32, 32)
EVERYTHING = {
    "equalize": True,
    "rounding": "adaround",
    "adaround": AdaRound(iterations=20, images=32),
    "bias_correction": True,
    "weight_bits": 4,
}
Events = dict[str, dict[str, JsonValue]]


def applied(model: nn.Module, **settings: object) -> tuple[Compressed, Events]:
    """The quantized model, and what the history says, by event."""
    events: Events = {}
    step = LinearQuantization(calibration=Calibration(method="minmax", images=64), **settings)  # type: ignore[arg-type]  # handed through
    context = replace(
        random_context(IMAGE, target="x86-vnni"), record=lambda facts: events.update({str(facts["event"]): dict(facts)})
    )
    before = uncompressed(model, IMAGE)
    step.requires(before, context)
    after = step.apply(before, context)
    step.ensures(before, after)
    return after, events


def outputs(module: nn.Module) -> np.ndarray:
    with torch.no_grad():
        return module(torch.from_numpy(random_task(IMAGE).train.x[:32])).numpy()


def mixed() -> nn.Module:
    torch.manual_seed(0)
    return trained(user_models.mixed())


def test_the_file_agrees_with_the_torch_model_and_the_callers_model_is_untouched() -> None:
    """Two steps of an 8-bit grid over the logits, as without these methods."""
    model = mixed()
    before = {key: tensor.clone() for key, tensor in model.state_dict().items()}
    after, _ = applied(model, **EVERYTHING)
    file = to_onnx(after.module, input_shape=IMAGE, target=load_target("x86-vnni"))
    expected = outputs(after.module)
    found = logits(open_session(file.SerializeToString()), random_task(IMAGE).train.x[:32])
    assert np.abs(found - expected).max() <= 2 / 255 * np.ptp(expected)
    assert all(torch.equal(model.state_dict()[key], tensor) for key, tensor in before.items())


def test_the_model_is_rebuilt_from_its_architecture_and_weights() -> None:
    after, _ = applied(mixed(), **EVERYTHING)
    rebuilt = build(after.architecture)
    rebuilt.load_state_dict(after.module.state_dict(), strict=True)
    assert np.array_equal(outputs(rebuilt), outputs(after.module))


def test_all_of_it_brings_the_model_nearer_to_the_float_one() -> None:
    expected = outputs(mixed())
    plain, better = (outputs(applied(mixed(), **each)[0].module) for each in ({"weight_bits": 4}, EVERYTHING))
    assert np.square(better - expected).mean() < np.square(plain - expected).mean()


def test_the_history_says_what_each_method_did() -> None:
    _, events = applied(mixed(), **EVERYTHING)
    assert list(events) == ["equalization", "adaround", "bias correction"]
    layers = {"stem", "depthwise", "grouped", "twice", "head"}
    assert set(events["adaround"]["mean_squared_error"]) == layers  # type: ignore[arg-type]  # handed through
    assert set(events["bias correction"]["largest"]) == layers  # type: ignore[arg-type]  # handed through


def test_nothing_to_equalize_is_said() -> None:
    model = nn.Sequential(nn.Conv2d(3, 4, 3), nn.Hardswish(), nn.Flatten(), nn.Linear(3600, 10))
    event = applied(model, equalize=True)[1]["equalization"]
    assert event["pairs"] == []
    assert "no layer is read by one other layer alone" in str(event["reason"])


class Deciding(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.head = nn.Linear(3072, 10)

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.head(x.flatten(1))
        return y if float(x.sum()) > 0 else -y


def test_a_model_without_a_graph_is_said_to_have_nothing_to_equalize() -> None:
    event = applied(Deciding(), equalize=True)[1]["equalization"]
    assert event["pairs"] == []
    assert "cannot be traced" in str(event["reason"])


def test_weights_alone_can_be_rounded_by_learning() -> None:
    _, events = applied(mixed(), weights_only=True, granularity="group", **EVERYTHING)
    assert "adaround" in events


@pytest.mark.parametrize("asked", [{"rounding": "adaround"}, {"bias_correction": True}], ids=["adaround", "bias"])
def test_what_needs_images_is_refused_without_data(asked: dict[str, object]) -> None:
    step = LinearQuantization(weights_only=True, **asked)  # type: ignore[arg-type]  # handed through
    with pytest.raises(DataError, match="needs images"):
        step.requires(uncompressed(mixed(), IMAGE), replace(random_context(IMAGE), task=None))


def test_settings_of_a_rounding_that_is_not_asked_for_are_refused() -> None:
    with pytest.raises(RecipeError, match="give rounding: adaround"):
        LinearQuantization(adaround=AdaRound(iterations=5))
