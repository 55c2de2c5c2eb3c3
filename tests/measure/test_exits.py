"""What is measured of a network with exits: sums add up, and every exit is asked on the file itself."""

from pathlib import Path

import numpy as np
import onnx
import pytest
from exit_models import CLASSES, TINY_SHAPE, images, outputs, tiny

from tinyml.architecture import Architecture
from tinyml.data.split import Split
from tinyml.data.task import Task
from tinyml.errors import UsageError
from tinyml.export import to_onnx
from tinyml.export.exits import join_stages, split_stages
from tinyml.measure import Measurements, measure, measure_files
from tinyml.measure.exits import open_leaving_at
from tinyml.measure.macs import macs_by_exit
from tinyml.measure.network import read_network
from tinyml.models import create_model
from tinyml.passes.base import Compressed, Context
from tinyml.passes.early_exit import EarlyExit
from tinyml.progress import Silent
from tinyml.runtime.exit_policy import ExitPolicy
from tinyml.runtime.one_by_one import answer_each
from tinyml.runtime.timer import TimerSettings
from tinyml.target import load_target

QUICK = TimerSettings(rounds=6, block=4, seconds=0.5, minimum_rounds=6, minimum_warm_up_seconds=0, warm_up_seconds=0.01)
POLICY = ExitPolicy(rule="max_probability", thresholds=(0.6, 0.7), temperatures=(1.5, 0.8))
X = images(40)
LABELS = np.arange(40) % CLASSES
LAYER, HEAD = 4 * 4 * 9 * 64, 4 * CLASSES


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("exits") / "model.onnx"
    onnx.save(join_stages(split_stages(tiny()), POLICY), path)
    return path


@pytest.fixture(scope="module")
def task() -> Task:
    split = Split(x=X, y=LABELS, source="noise")
    return Task(name="noise", kind="classification", input_shape=TINY_SHAPE, classes=("a", "b", "c"), test=split)


@pytest.fixture(scope="module")
def measured(file: Path, task: Task) -> Measurements:
    plain = file.with_name("plain.onnx")
    network = tiny()
    del network.graph.output[:2]
    network.graph.output[0].name = network.graph.node[-1].output[0] = "output"
    onnx.save(network, plain)
    return measure(file, baseline=plain, task=task, settings=QUICK)


def test_every_exit_costs_what_lies_before_it(file: Path) -> None:
    assert macs_by_exit(read_network(file)) == tuple(exits * (LAYER + HEAD) for exits in (1, 2, 3))


def test_the_mean_of_the_multiply_adds_adds_up_to_the_histogram(measured: Measurements) -> None:
    taken = POLICY.taken(np.stack(outputs(tiny(), X)))
    macs, exits = measured["model"]["macs"], measured["model"]["early_exits"].details
    assert [exits[f"exit_{index}_examples"] for index in range(3)] == np.bincount(taken, minlength=3).tolist()
    assert macs.value == pytest.approx(np.mean((taken + 1) * (LAYER + HEAD)))
    assert macs.details["worst"] == macs.details["exit_2"] == 3 * (LAYER + HEAD)
    assert measured["baseline"]["macs"].details == {"rule": "conv-linear"}


def test_each_exit_has_its_accuracy_of_those_that_left_and_of_all(measured: Measurements) -> None:
    every = np.stack(outputs(tiny(), X))
    taken, right = POLICY.taken(every), every.argmax(axis=2) == LABELS
    details = measured["model"]["early_exits"].details
    for index in range(3):
        assert details[f"exit_{index}_right"] == right[index, taken == index].sum()
        assert details[f"exit_{index}_accuracy_of_all"] == pytest.approx(right[index].mean())
    assert measured["model"]["accuracy"].value == pytest.approx(right[taken, np.arange(40)].mean())
    assert measured["model"]["early_exits"].value == pytest.approx((taken < 2).mean())


def test_a_network_without_exits_beside_it_has_a_mean_that_is_its_median(measured: Measurements) -> None:
    mean, median = (measured["baseline"][metric] for metric in ("latency_mean_ms", "latency_ms"))
    assert mean.value == pytest.approx(median.value)
    assert "early_exits" not in measured["baseline"]


def test_the_mean_latency_is_that_of_the_calls_by_exit(measured: Measurements) -> None:
    details, n = measured["model"]["latency_mean_ms"].details, measured["model"]["latency_ms"].n
    calls = [int(details.get(f"exit_{index}_calls", 0)) for index in range(3)]
    medians = [float(details.get(f"exit_{index}_median_ms", 0)) for index in range(3)]
    assert sum(calls) == n
    assert measured["model"]["latency_mean_ms"].value == pytest.approx(np.dot(calls, medians) / n)


def test_without_exits_nothing_is_said_of_a_stream(measured: Measurements, file: Path, task: Task) -> None:
    alone = measure(file.with_name("plain.onnx"), task=task, settings=QUICK)["model"]
    assert not {"latency_mean_ms", "latency_mean_ratio", "early_exits"} & alone.keys()


@pytest.mark.parametrize("exit_index", [0, 1, 2])
def test_a_copy_leaves_at_the_exit_that_is_asked(file: Path, exit_index: int) -> None:
    assert set(answer_each(open_leaving_at(file, exit_index), X)[1]) == {exit_index}


def test_without_data_the_costliest_way_counts(file: Path) -> None:
    alone = measure(file, settings=QUICK)["model"]
    assert alone["macs"].value == 3 * (LAYER + HEAD)
    assert not {"early_exits", "latency_mean_ms", "latency_mean_ratio"} & alone.keys()


def test_a_batch_is_refused_with_what_batches_are_run_by(file: Path, task: Task) -> None:
    with pytest.raises(UsageError, match=r"batch 8 cannot be measured. Batches are what its stages are for \(stages/"):
        measure_files({"a": file}, task=task, batch=8, settings=QUICK)


@pytest.mark.slow
def test_the_file_of_the_labs_resnet18_costs_by_exit_what_the_lab_counted(tmp_path: Path) -> None:
    shape, target = (3, 32, 32), load_target("x86-avx2")
    architecture = Architecture(model="resnet18-cifar", model_args={"classes": 6}, input_shape=shape)
    model = Compressed(module=create_model("resnet18-cifar", {"classes": 6}).eval(), architecture=architecture)
    context = Context(task=None, target=target, teacher=model.module, seed=0, device="cpu", progress=Silent())
    with_exits = EarlyExit(exits=("layer[123]",), head="flatten").apply(model, context)
    stages = split_stages(to_onnx(with_exits.module, input_shape=shape, target=target))
    policy = ExitPolicy(rule="max_probability", thresholds=(0.5,) * 3, temperatures=(1.0,) * 3)
    onnx.save(join_stages(stages, policy), tmp_path / "model.onnx")
    costs = macs_by_exit(read_network(tmp_path / "model.onnx"))
    assert costs == (153_157_632, 287_571_968, 421_888_000, 556_108_800)
