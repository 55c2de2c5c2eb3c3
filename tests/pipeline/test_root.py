"""Where a job starts."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from tinyml.data import Task
from tinyml.errors import CheckpointError, DataError, ModelError, Refused, UsageError
from tinyml.pipeline import load_root


def weights(module: nn.Module) -> Tensor:
    return torch.cat([tensor.flatten().float() for tensor in module.state_dict().values()])


def test_random_weights_are_those_of_the_seed_and_leave_the_callers_generator_alone(job) -> None:
    state = torch.random.get_rng_state()
    first, again, other = (load_root(job("int8", f"seed={seed}")) for seed in (0, 0, 1))
    assert torch.equal(weights(first.compressed.module), weights(again.compressed.module))
    assert not torch.equal(weights(first.compressed.module), weights(other.compressed.module))
    assert torch.equal(torch.random.get_rng_state(), state)
    assert "the accuracy means nothing" in first.notes[0]


def test_a_checkpoint_gives_its_weights_in_eval_mode(job, digits_checkpoint: Path) -> None:
    root = load_root(job(checkpoint=digits_checkpoint))
    assert root.baseline is None
    assert not root.compressed.module.training
    assert not torch.equal(weights(root.compressed.module), weights(load_root(job()).compressed.module))


def test_a_run_directory_continues_a_chain_with_its_baseline(job, int8_run: Path) -> None:
    root = load_root(job("baseline", checkpoint=int8_run, model=""))
    assert root.baseline == int8_run / "baseline"
    assert {type(module).__name__ for module in root.teacher.modules()} & {"Conv2d", "BatchNorm2d"}
    assert not root.teacher.training
    assert root.compressed.architecture.edits[0].edit == "capture"
    assert root.input_shape == (1, 8, 8)


@pytest.mark.parametrize(
    ("changed", "shape"),
    [
        pytest.param({}, (1, 8, 8), id="the data's"),
        pytest.param({"task": None}, (1, 8, 8), id="the zoo's"),
        pytest.param({"task": None, "model": "vgg-cifar"}, (3, 32, 32), id="another model's"),
        pytest.param(
            {"task": None, "input_shape": (3, 64, 64), "model": "mobilenetv2-cifar"}, (3, 64, 64), id="the option's"
        ),
    ],
)
def test_the_input_shape_is_taken_from_what_is_known(job, changed: dict[str, object], shape: tuple[int, ...]) -> None:
    assert load_root(job(**changed)).input_shape == shape


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        pytest.param({"model": "vgg-cifar"}, "holds a lenet-digits; leave --model out", id="another model"),
        pytest.param({"input_shape": (1, 9, 9)}, r"takes \(1, 8, 8\), and knows so", id="another shape"),
        pytest.param({"model_args": {"classes": 4}}, r"was made with \{\}, and knows so", id="other arguments"),
    ],
)
def test_an_option_that_contradicts_the_run_directory_is_refused(job, int8_run: Path, changed, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        load_root(job("baseline", **{"checkpoint": int8_run, "model": "", **changed}))


def test_an_option_that_the_run_directory_agrees_with_is_taken(job, int8_run: Path) -> None:
    assert load_root(job("baseline", checkpoint=int8_run, input_shape=(1, 8, 8))).baseline is not None


def test_data_of_another_shape_than_the_run_directory_takes_is_refused(job, int8_run: Path, small_digits: Task) -> None:
    with pytest.raises(DataError, match=r"takes inputs \(1, 8, 8\); the task 'digits' gives \(1, 6, 6\)"):
        load_root(job("baseline", checkpoint=int8_run, model="", task=small_digits))


class Several(nn.Module):
    def forward(self, x: Tensor) -> list[Tensor]:
        return [x, x]


class Failing(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        raise ValueError("first line\nsecond line")


@pytest.mark.parametrize(
    ("changed", "error", "message"),
    [
        pytest.param(
            {"input_shape": (3, 8, 8)}, UsageError, r"not the shape of the data", id="another shape than the data"
        ),
        pytest.param(
            {"model": "resnet20-cifar"}, ModelError, r"cannot take inputs of shape", id="a model of other inputs"
        ),
        pytest.param({"model_args": {"classes": 4}}, ModelError, "4 outputs", id="other classes"),
        pytest.param({"model": "", "checkpoint": Path("net.pt")}, UsageError, "--model is needed", id="no model"),
        pytest.param({"checkpoint": Path("none.pt")}, CheckpointError, "no file", id="no file"),
        pytest.param(
            {"model": "tinyml.data:load_task"},
            ModelError,
            "missing a required argument",
            id="a factory of something else",
        ),
    ],
)
def test_a_start_that_cannot_work_is_refused(
    job, changed: dict[str, object], error: type[Refused], message: str
) -> None:
    with pytest.raises(error, match=message):
        load_root(job(**changed))


def test_a_users_model_needs_its_shape_where_there_is_no_data(job) -> None:
    changed = {"task": None, "model": "torch.nn:Flatten"}
    with pytest.raises(UsageError, match=r"input shape of 'torch\.nn:Flatten' is unknown"):
        load_root(job("baseline", **changed))
    assert load_root(job("baseline", input_shape=(2, 3), **changed)).input_shape == (2, 3)


@pytest.mark.parametrize(
    ("module", "message"),
    [
        pytest.param(Several, "returns a list; it must return one tensor", id="two outputs"),
        pytest.param(Failing, r"first line$", id="a forward that fails"),
    ],
)
def test_a_model_that_gives_no_tensor_is_refused_in_one_line(job, monkeypatch, module, message: str) -> None:
    monkeypatch.setattr("tinyml.pipeline.root.create_model", lambda *_: module())
    with pytest.raises(ModelError, match=message):
        load_root(job())


def test_data_of_more_classes_than_outputs_is_refused(job, digits: Task) -> None:
    more = replace(digits, classes=(*digits.classes, "ten"), fingerprint="")
    with pytest.raises(ModelError, match="11 classes"):
        load_root(job(task=more))
