import dataclasses
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import user_models
from pydantic import JsonValue
from random_task import random_context, trained, uncompressed

from tinyml.errors import CheckpointError, GateMissed, TargetError
from tinyml.export import to_onnx
from tinyml.measure.macs_torch import macs_of_module
from tinyml.models import create_model
from tinyml.passes import Compressed, Context
from tinyml.passes.channel_pruning import ChannelPruning
from tinyml.passes.latency_goal import LatencyGoal
from tinyml.runtime.session import open_session
from tinyml.runtime.timer import TimerSettings, time_interleaved
from tinyml.target import load_target

IMAGE = (3, 32, 32)


class Memory:
    """A store that keeps every state it was given."""

    def __init__(self, *states: bytes) -> None:
        self.states = list(states)

    def load(self) -> bytes | None:
        return self.states[-1] if self.states else None

    def save(self, state: bytes) -> None:
        self.states.append(state)


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))


@pytest.fixture
def as_macs(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Time layers and networks by their multiply-adds; returns a list that grows with what is timed."""
    timed: list[str] = []

    def layers(runtime: Any, shapes: Any) -> list[float]:
        timed.extend("layer" for _ in shapes)
        return [float(np.prod(shape.weight) * np.prod(shape.input[1:])) for shape in shapes]

    def share(goal: Any, counts: Mapping[str, int]) -> float:
        timed.append("network")
        return macs(goal._cut(counts)) / macs(goal._module)

    monkeypatch.setattr("tinyml.measure.latency_table._time_layers", layers)
    monkeypatch.setattr(LatencyGoal, "_share", share)
    return timed


def macs(module: torch.nn.Module) -> float:
    return macs_of_module(module, IMAGE).value


def start(name: str) -> Compressed:
    torch.manual_seed(0)
    model = trained(create_model(name, {}) if "-" in name else getattr(user_models, name)())
    return uncompressed(model, IMAGE, factory=name if "-" in name else f"user_models:{name}")


def pruned(before: Compressed, context: Context | None = None, **settings: Any) -> Compressed:
    step, context = ChannelPruning(**settings), context or random_context(IMAGE)
    step.requires(before, context)
    after = step.apply(before, context)
    step.ensures(before, after)
    return after


@pytest.mark.usefixtures("as_macs")
@pytest.mark.parametrize("scope", ["uniform", "global"])
@pytest.mark.parametrize("name", ["mobilenetv3_like", "densenet_like", "resnet20-cifar"])
def test_a_goal_for_the_latency_is_met_closely(name: str, scope: str):
    before = start(name)
    after = pruned(before, keep_latency=0.6, scope=scope, round_to=1)
    assert 0.54 <= macs(after.module) / macs(before.module) <= 0.6


@pytest.mark.usefixtures("as_macs")
def test_a_goal_out_of_reach_is_missed_with_how_far_it_came():
    with pytest.raises(GateMissed, match=r"keep_latency: 0\.05 cannot be met.* 0\.3\d\d stays.*'conv1'"):
        pruned(start("resnet20-cifar"), keep_latency=0.05)


@pytest.mark.usefixtures("as_macs")
def test_what_was_measured_is_recorded():
    said: list[Mapping[str, JsonValue]] = []
    pruned(start("resnet20-cifar"), dataclasses.replace(random_context(IMAGE), record=said.append), keep_latency=0.7)
    assert [facts["event"] for facts in said] == ["latency"] * (len(said) - 2) + ["latency by layer", "channels"]
    assert 0 < float(str(said[0]["measured"])) < 1
    layers = said[-2]["layers_ms"]
    assert isinstance(layers, dict)
    assert layers["linear"][0] == 640  # type: ignore[index, call-overload]  # 64 features x 10 classes, by the count of this test


def test_a_killed_search_that_is_resumed_measures_nothing_again_and_ends_the_same(as_macs: list[str]):
    before, store = start("resnet20-cifar"), Memory()
    context = dataclasses.replace(random_context(IMAGE), store=store)
    first = pruned(before, context, keep_latency=0.7)
    del as_macs[:]
    again = pruned(before, dataclasses.replace(context, store=Memory(*store.states)), keep_latency=0.7)
    assert as_macs == []
    assert again.architecture == first.architecture


def test_a_search_killed_before_its_first_measurement_keeps_the_table(as_macs: list[str]):
    before, store = start("resnet20-cifar"), Memory()
    context = dataclasses.replace(random_context(IMAGE), store=store)
    pruned(before, context, keep_latency=0.7)
    del as_macs[:]
    pruned(before, dataclasses.replace(context, store=Memory(store.states[0])), keep_latency=0.7)
    assert set(as_macs) == {"network"}


def test_a_run_holds_to_its_own_table_whatever_the_cache_says(as_macs: list[str], monkeypatch: pytest.MonkeyPatch):
    before, store = start("resnet20-cifar"), Memory()
    context = dataclasses.replace(random_context(IMAGE), store=store)
    first = pruned(before, context, keep_latency=0.7)
    monkeypatch.setattr("tinyml.measure.latency_table._time_layers", lambda _, shapes: [1.0] * len(shapes))
    monkeypatch.setenv("XDG_CACHE_HOME", "/dev/null")
    again = pruned(before, dataclasses.replace(context, store=Memory(store.states[-1])), keep_latency=0.7)
    assert again.architecture == first.architecture


@pytest.mark.usefixtures("as_macs")
def test_a_damaged_state_is_refused():
    context = dataclasses.replace(random_context(IMAGE), store=Memory(b"{}"))
    with pytest.raises(CheckpointError, match="damaged: start without --resume"):
        pruned(start("mixed"), context, keep_latency=0.7)


def test_a_second_run_on_this_machine_times_no_layer_again(as_macs: list[str]):
    pruned(start("resnet20-cifar"), keep_latency=0.7)
    del as_macs[:]
    pruned(start("resnet20-cifar"), keep_latency=0.7)
    assert set(as_macs) == {"network"}


def test_a_target_whose_runtime_is_not_here_is_refused():
    context = random_context(IMAGE)
    target = dataclasses.replace(context.target, provider="NowhereExecutionProvider")
    with pytest.raises(TargetError, match="has no NowhereExecutionProvider"):
        ChannelPruning(keep_latency=0.5).requires(start("mixed"), dataclasses.replace(context, target=target))


def measured_share(before: Compressed, after: Compressed) -> float:
    """The ratio of the medians of a run of its own, in processor time: other work on the machine does not count."""
    calls = {}
    for name, model in (("before", before), ("after", after)):
        file = to_onnx(model.module, input_shape=IMAGE, target=load_target("x86-avx2")).SerializeToString()
        session = open_session(file)
        calls[name] = lambda _, session=session: session.run(np.zeros((1, *IMAGE), np.float32))
    settings = TimerSettings(rounds=40, block=8)
    samples = time_interleaved(calls, settings=settings, clock=time.thread_time_ns).samples_ms
    return float(np.median(samples["after"]) / np.median(samples["before"]))


@pytest.mark.slow
def test_the_labs_vgg_keeps_the_share_of_its_latency_that_was_asked_for():
    before = start("vgg-cifar")
    assert measured_share(before, pruned(before, keep_latency=0.6)) == pytest.approx(0.6, rel=0.1)
