"""A small report that tests change one field of."""

from collections.abc import Callable

import pytest

from tinyml.analysis.weights import HistogramPair, WeightHistogram
from tinyml.measure.measurement import Measurement
from tinyml.report.comparison import Comparison, compare_measurements
from tinyml.report.report import HistoryEvent, InputFacts, LayerCost, LayerRow, LeftAlone, Report, TargetFacts
from tinyml.verification.check import Check


@pytest.fixture
def size() -> Callable[[float], dict[str, Measurement]]:
    """Measurements of a file of so many bytes."""
    return lambda value: {"size_bytes": Measurement(metric="size_bytes", value=value, unit="bytes")}


@pytest.fixture
def paired() -> Comparison:
    """Two accuracies with the difference that was measured example by example."""
    accuracy = {"accuracy": Measurement(metric="accuracy", value=0.9, unit="share", interval=(0.85, 0.94), n=200)}
    difference = Measurement(
        metric="accuracy_difference",
        value=-0.005,
        unit="share",
        interval=(-0.03, 0.02),
        n=200,
        details={"gained": 2, "lost": 3},
    )
    return compare_measurements({"baseline": accuracy, "model": {**accuracy, difference.metric: difference}})


@pytest.fixture
def bare_report(size: Callable[[float], dict[str, Measurement]]) -> Report:
    """A report with nothing in it that can be left out."""
    return Report(
        name="tiny",
        model="lenet-digits",
        recipe_yaml="version: 1\nname: int8\n",
        target=TargetFacts(name="x86-avx2"),
        input=InputFacts(shape=(1, 8, 8)),
        comparison=compare_measurements({"baseline": size(4096), "model": size(1024)}),
        seed=0,
        threads=1,
    )


@pytest.fixture
def report(bare_report: Report) -> Report:
    """A report in which every section has something."""
    side = WeightHistogram(counts=(1, 3), weights=4, zeros=0.25, distinct=3, stored="int8")
    return Report(
        **{
            **vars(bare_report),
            "data": "digits, test split, 360 images",
            "command": "tinyml compress digits.pt -o runs/tiny",
            "classes": ("zero", "one"),
            "verification": (Check(name="finite outputs", value="0 NaN", bound="0", outcome="passed"),),
            "layers": (LayerRow(name="conv1", kind="Conv", before=LayerCost(macs=10), after=LayerCost(macs=5)),),
            "histograms": (HistogramPair(name="conv1", edges=(-1.0, 0.0, 1.0), before=side, after=side),),
            "latency_before_ms": (2.0, 2.0, 4.0),
            "latency_after_ms": (1.0, 1.0, 3.0),
            "left_alone": (LeftAlone(module="norm", reason="has no weights", pass_name="linear_quantization"),),
            "notes": ("'module.' was cut off the names.",),
            "calibration": {"method": "mse"},
            "machine": {"cores": "2"},
            "versions": {"torch": "2.13.0"},
            "history": (HistoryEvent(time="00:01", event="exported"),),
            "raw": {"metrics.json": "{}"},
        }
    )
