import json
from dataclasses import replace

import numpy as np
import pytest
from onnx import helper

from tinyml.data.split import Split
from tinyml.data.task import Task
from tinyml.errors import CheckpointError, TinymlError, UsageError
from tinyml.measure import METRICS, from_json, measure, measure_files, suite, to_json
from tinyml.measure.accuracy import score
from tinyml.measure.latency import _settings, judge, noise_band
from tinyml.runtime.timer import TimerSettings

QUICK = TimerSettings(rounds=4, block=2, minimum_warm_up_seconds=0, warm_up_seconds=0.01)


@pytest.fixture
def task():
    x = np.random.default_rng(0).standard_normal((10, 3, 8, 8)).astype(np.float32)
    split = Split(x=x, y=np.arange(10) % 2, source="noise")
    return Task(name="noise", kind="classification", input_shape=(3, 8, 8), classes=("a", "b"), test=split)


def test_baseline_and_model_get_every_metric_and_survive_json(convolution, task):
    measured = measure(convolution, baseline=convolution, task=task, settings=QUICK)
    assert set(measured) == {"baseline", "model"}
    others = {"auc", *(name for name, row in METRICS.items() if row.needs in ("stream", "exits"))}
    assert set(measured["model"]) == set(METRICS) - others
    assert set(measured["baseline"]) == set(METRICS) - others - {"accuracy_difference"}
    assert from_json(json.loads(json.dumps(to_json(measured)))) == measured


def test_units_are_those_of_the_table(convolution, task):
    for entries in measure(convolution, baseline=convolution, task=task, settings=QUICK).values():
        assert {name: entry.unit for name, entry in entries.items()} == {name: METRICS[name].unit for name in entries}
        assert all(name == entry.metric for name, entry in entries.items())


def test_a_file_does_not_differ_from_itself_and_is_scored_once(convolution, task, monkeypatch):
    scored = []
    monkeypatch.setattr(suite, "score", lambda *given: scored.append(given[0]) or score(*given))
    difference = measure(convolution, baseline=convolution, task=task, settings=QUICK)["model"]["accuracy_difference"]
    assert (difference.value, difference.details["gained"], difference.details["lost"]) == (0, 0, 0)
    assert len(scored) == 2


def test_a_file_alone_has_no_difference(convolution, task):
    assert "accuracy_difference" not in measure(convolution, task=task, settings=QUICK)["model"]


def test_without_data_there_is_no_accuracy(convolution):
    measured = measure(convolution, settings=QUICK)
    assert set(measured) == {"model"}
    assert "accuracy" not in measured["model"]
    assert measured["model"]["latency_ms"].details["inputs"] == "random"


def test_latency_keeps_every_sample_and_says_how_it_was_timed(convolution):
    latency = measure(convolution, settings=QUICK)["model"]["latency_ms"]
    assert len(latency.samples) == latency.n == 8
    assert latency.value == np.median(latency.samples)
    assert (latency.details["threads"], latency.details["batch"], latency.details["block"]) == (1, 1, 2)
    assert latency.details["nodes_on"] == "CPUExecutionProvider 5"
    assert latency.not_counted == ("p90: 8 samples, 64 needed", "p99: 8 samples, 662 needed")


def test_the_contenders_share_the_shortest_warm_up():
    assert _settings(3) == replace(TimerSettings(), minimum_warm_up_seconds=TimerSettings().minimum_warm_up_seconds / 3)


def test_the_baselines_ratio_is_the_control(convolution):
    measured = measure(convolution, baseline=convolution, settings=QUICK)
    control = measured["baseline"]["latency_ratio"]
    assert control.details["verdict"] == "A/A control"
    assert control.value == pytest.approx(
        np.median(measured["baseline"]["latency_ms"].samples) / np.median(control.samples)
    )
    ratio = measured["model"]["latency_ratio"]
    median = {name: entries["latency_ms"].value for name, entries in measured.items()}
    assert ratio.value == pytest.approx(median["baseline"] / median["model"])
    assert ratio.details["verdict"] in ("faster", "slower", "within the A/A band")


def test_networks_of_different_shapes_can_be_compared_on_random_inputs(convolution, quantized):
    measured = measure_files({"a": convolution, "b": quantized}, settings=QUICK)
    assert measured["a"]["macs"].value > measured["b"]["macs"].value


def test_the_band_is_symmetric_about_one():
    assert noise_band((0.8, 1.1)) == pytest.approx((0.8, 1.25))


def test_the_noise_band_is_never_narrower_than_two_sessions_of_one_file_differ() -> None:
    assert noise_band((0.999, 1.001)) == pytest.approx((1 / 1.035, 1.035))


@pytest.mark.parametrize(
    ("interval", "words"),
    [
        ((1.3, 1.4), "faster"),
        ((0.6, 0.7), "slower"),
        ((1.01, 1.4), "within the A/A band"),
        ((1.02, 1.03), "within the A/A band"),
    ],
    ids=["above", "below", "reaches into it", "inside it"],
)
def test_a_ratio_counts_only_outside_of_the_control(interval, words):
    assert judge(interval, (0.97, 1.05)) == words


def test_nothing_to_measure_is_refused():
    with pytest.raises(UsageError, match="nothing to measure"):
        measure_files({})


def test_a_missing_file_is_refused_before_anything_is_timed(convolution, tmp_path):
    with pytest.raises(CheckpointError, match="no such file"):
        measure_files({"a": convolution, "b": tmp_path / "none.onnx"})


def test_a_file_that_fails_once_it_was_timed_was_not_refused(convolution, monkeypatch):
    def failing(*given, **settings):
        raise CheckpointError("it failed on a later input")

    monkeypatch.setattr(suite, "run_latency", failing)
    with pytest.raises(TinymlError, match="a later input") as raised:
        measure_files({"a": convolution})
    assert raised.value.exit_code == 1


def test_a_file_that_fails_on_its_first_input_is_refused(save_graph):
    # a reshape to 7 columns, of inputs that have 8
    path = save_graph(
        [helper.make_node("Reshape", ["input", "to"], ["output"])],
        inputs={"input": ["batch", 8]}, outputs={"output": ["batch", 7]}, constants={"to": np.array([1, 7])},
    )  # fmt: skip
    with pytest.raises(CheckpointError, match="failed"):
        measure_files({"a": path})
