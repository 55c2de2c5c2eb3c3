"""Fine-grained pruning with the real commands and the real trainer, on the digits: zeros stay zeros to the file."""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

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
from tinyml.layers.mask import masks
from tinyml.models import create_model
from tinyml.numerics.sparsity import NOfM
from tinyml.passes.base import Compressed, Context
from tinyml.passes.weight_pruning import WeightPruning
from tinyml.progress import Silent
from tinyml.target import load_target
from tinyml.training import Position, TrainingSettings, train

Run = Callable[..., Any]
WEIGHTS = {"conv1": 144, "conv2": 4608, "linear1": 32768, "linear2": 640}
TOTAL = 38160


@pytest.fixture(scope="module")
def digits() -> Task:
    return package.load_task("digits")


@pytest.fixture
def dense(digits_checkpoint: Path) -> Compressed:
    module = create_model("lenet-digits", {}).eval()
    load_into(module, read_state(digits_checkpoint), source=digits_checkpoint)
    return Compressed(module=module, architecture=Architecture(model="lenet-digits", input_shape=(1, 8, 8)))


def pruned(model: Compressed, digits: Task, **settings: Any) -> nn.Module:
    step = WeightPruning(**settings)
    context = Context(
        task=digits, target=load_target("cpu"), teacher=model.module, seed=0, device="cpu", progress=Silent()
    )
    step.requires(model, context)
    after = step.apply(model, context)
    step.ensures(model, after)
    return after.module


def zeros_of(module: nn.Module) -> dict[str, int]:
    return {name: int((module.get_submodule(name).weight == 0).sum()) for name, _ in masks(module)}


TRAININGS = {
    "sgd with momentum and decay": TrainingSettings(epochs=2, optimizer="sgd", learning_rate=0.02, weight_decay=5e-3),
    "adamw": TrainingSettings(epochs=2, optimizer="adamw", learning_rate=0.002, weight_decay=0.05),
    "averaged weights": TrainingSettings(epochs=2, learning_rate=0.02, ema_decay=0.9),
}


@pytest.mark.parametrize("settings", TRAININGS.values(), ids=TRAININGS)
def test_pruned_weights_are_exactly_zero_after_training(dense: Compressed, digits: Task, settings: TrainingSettings):
    module = pruned(dense, digits, sparsity=0.7, scope="uniform")
    before = {name: module.get_submodule(name).weight.detach().clone() for name in WEIGHTS}
    train(module, digits, settings)
    assert zeros_of(module) == {name: round(0.7 * numel) for name, numel in WEIGHTS.items()}
    for name, earlier in before.items():
        now = module.get_submodule(name).weight
        assert torch.equal(now == 0, earlier == 0)
        assert not torch.equal(now, earlier)


@pytest.mark.parametrize("structure", ["unstructured", NOfM(keep=2, of=4)], ids=str)
def test_a_cubic_ramp_ends_at_exactly_its_zeros(dense: Compressed, digits: Task, structure: Any):
    """Without a validation split the last epoch is kept, which is behind the ramp."""
    module = pruned(dense, digits, sparsity=0.5, structure=structure, schedule="cubic", ramp=0.5)
    assert sum(zeros_of(module).values()) == 0
    course: list[int] = []
    train(
        module,
        replace(digits, validation=None),
        TrainingSettings(epochs=2, learning_rate=0.02),
        on_step=[lambda trained, _: course.append(sum(mask.masked for _, mask in masks(trained)))],
    )
    expected = (TOTAL - (144 if structure != "unstructured" else 0)) // 2
    assert (course[len(course) // 2], course[-1], sum(zeros_of(module).values())) == (expected, expected, expected)
    assert course == sorted(course)
    assert course[len(course) // 4] == pytest.approx(7 / 8 * expected, rel=0.02)
    assert attachment_faults(module) == []


def kill_at(step: int) -> Callable[[nn.Module, Position], None]:
    def hook(_: nn.Module, position: Position) -> None:
        if position.step == step:
            raise KeyboardInterrupt

    return hook


def test_a_ramp_that_was_interrupted_ends_with_the_same_masks(dense: Compressed, digits: Task):
    task, settings = replace(digits, validation=None), TrainingSettings(epochs=2, learning_rate=0.02)
    whole, parts = (pruned(dense, digits, sparsity=0.7, schedule="cubic", ramp=0.9) for _ in range(2))
    train(whole, task, settings)
    store = Memory()
    with pytest.raises(KeyboardInterrupt):
        train(parts, task, settings, store=store, save_interval_s=0, on_step=[kill_at(20)])
    again = pruned(dense, digits, sparsity=0.7, schedule="cubic", ramp=0.9)
    train(again, task, settings, store=store)
    assert all(torch.equal(tensor, again.state_dict()[name]) for name, tensor in whole.state_dict().items())


def test_the_callers_network_stays_dense(dense: Compressed, digits: Task):
    before = {name: tensor.clone() for name, tensor in dense.module.state_dict().items()}
    train(pruned(dense, digits, sparsity=0.7), digits, TrainingSettings(epochs=1, learning_rate=0.02))
    after = dense.module.state_dict()
    assert list(after) == list(before)
    assert all(torch.equal(after[name], tensor) for name, tensor in before.items())


PASSES = (
    "weight_pruning: {sparsity: 0.7}",
    "fine_tuning: {epochs: 2, learning_rate: 0.02}",
    "linear_quantization: {calibration: {images: 128}}",
)


@pytest.fixture(scope="module")
def sparse_run(digits_run: Callable[..., Path]) -> Path:
    """The run directory of that network, 70 % sparse, fine-tuned and in int8."""
    return digits_run("sparse70-int8", PASSES)


def test_the_file_that_ships_is_sparse_and_int8(sparse_run: Path):
    stored = weights_of(sparse_run / "model.onnx")
    assert stored.keys() == WEIGHTS.keys()
    masked = dict(masks(package.load(sparse_run)[0]))
    assert sum(int(mask.zeros) for mask in masked.values()) == round(0.7 * TOTAL)
    for name, layer in stored.items():
        kept = masked[name].mask.numpy()
        values = layer.values if layer.values.shape == kept.shape else layer.values.T
        assert not values[~kept].any()


def test_the_sparse_file_is_nearly_as_right_as_the_dense_one(sparse_run: Path):
    measured = json.loads((sparse_run / "metrics.json").read_text())
    dense, sparse = (measured[side]["accuracy"]["value"] for side in ("baseline", "model"))
    assert sparse >= dense - 0.02
    assert measured["model"]["parameters_nonzero"]["value"] <= 0.3 * TOTAL + 154  # and every bias
    assert measured["model"]["macs"] == measured["baseline"]["macs"]


def test_the_run_verifies_and_tells_what_it_pruned(tinyml: Run, sparse_run: Path):
    assert tinyml("verify", sparse_run, "--data", "digits").code == 0
    events = [json.loads(line) for line in (sparse_run / "history.jsonl").read_text().splitlines()]
    told = [(event["zeros"], event["of"]) for event in events if event["event"] == "weights to zero"]
    assert told == [(round(0.7 * TOTAL), TOTAL)]


def test_a_sparse_run_may_be_pruned_further_and_not_less(tinyml: Run, digits_checkpoint: Path, tmp_path: Path):
    for name, passes in (("one", "sparsity: 0.5"), ("two", "sparsity: 0.8")):
        (tmp_path / f"{name}.yaml").write_text(f"version: 1\nname: {name}\npasses: [weight_pruning: {{{passes}}}]\n")
    start = (digits_checkpoint, "--model", "lenet-digits", "--recipe", tmp_path / "one.yaml", "-o", tmp_path / "one")
    assert tinyml("compress", *start, "--data", "digits").code == 0
    again = (tmp_path / "one", "--recipe", tmp_path / "two.yaml", "-o", tmp_path / "two", "--data", "digits")
    assert tinyml("compress", *again).code == 0
    assert sum(zeros_of(package.load(tmp_path / "two")[0]).values()) == round(0.8 * TOTAL)
    fewer = tinyml("compress", tmp_path / "two", "--recipe", tmp_path / "one.yaml", "-o", tmp_path / "x")
    assert (fewer.code, "pruning again takes a higher sparsity" in fewer.err) == (2, True)
