"""What a report is made of: plain facts that the pipeline fills in and that the page and the model card draw."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal, final

from tinyml.analysis.weights import HistogramPair
from tinyml.report.comparison import Comparison
from tinyml.report.exits import ExitFacts
from tinyml.report.line_chart import LineChart
from tinyml.verification.agreement import AGREEMENT_CHECKS
from tinyml.verification.check import Check


@final
@dataclass(frozen=True, kw_only=True)
class TargetFacts:
    """What the file was made for: the target's name, a sentence about it, onnxruntime's provider."""

    name: str
    summary: str = ""
    provider: str = "CPUExecutionProvider"


@final
@dataclass(frozen=True, kw_only=True)
class InputFacts:
    """What the file wants as input.

    Attributes:
        name: of the graph's input.
        shape: of one input without the batch, as the file takes it: (C, H, W), or (H, W, C) for "uint8".
        dtype: "uint8" where the file takes pixels and normalises them itself.
        mean: of pixels scaled to 0-1, by channel; empty where the data are floats that the network takes as they are.
        std: the same for the standard deviation.
    """

    name: str = "input"
    shape: tuple[int, ...]
    dtype: Literal["float32", "uint8"] = "float32"
    mean: tuple[float, ...] = ()
    std: tuple[float, ...] = ()


@final
@dataclass(frozen=True, kw_only=True)
class LayerCost:
    """What one layer costs on one side; None is a number that is not known, or a layer that is not there.

    Attributes:
        parameters: number of its weights and biases.
        macs: multiply-adds for one input.
        activation_bytes: bytes of its output for one input.
        latency_ms: time in the runtime's own profile.
        stored: form of its weights in the file: "float32", "int8", "4-bit codebook".
    """

    parameters: int | None = None
    macs: int | None = None
    activation_bytes: int | None = None
    latency_ms: float | None = None
    stored: str = ""


@final
@dataclass(frozen=True, kw_only=True)
class LayerRow:
    """One layer: its operator ("Conv"), the shape of its output without the batch, its costs before and after."""

    name: str
    kind: str
    shape: tuple[int, ...] = ()
    before: LayerCost = LayerCost()
    after: LayerCost = LayerCost()


@final
@dataclass(frozen=True, kw_only=True)
class LeftAlone:
    """A module that a pass did not transform, and why."""

    module: str
    reason: str
    pass_name: str


@final
@dataclass(frozen=True, kw_only=True)
class LedgerRow:
    """Bytes of one kind of content in the file before and after: "int8 weights", "scales", "graph"."""

    kind: str
    before_bytes: int
    after_bytes: int


@final
@dataclass(frozen=True, kw_only=True)
class HistoryEvent:
    """One step of the run: when (ISO 8601, or seconds since the start), what, and what came of it."""

    time: str
    event: str
    details: str = ""


@final
@dataclass(frozen=True, kw_only=True)
class Report:
    """Everything that the page and the model card say. What is empty is left out, or said to be missing.

    Attributes:
        name: the run's.
        model: the network's name: "resnet20-cifar".
        data: the task and its split in words: "cifar10-jpeg, test split, 5,000 images"; "" without data.
        file: name of the ONNX file inside the run directory.
        command: the command line that makes the run again.
        recipe_yaml: the resolved recipe.
        target: what the file was made for.
        input: what the file wants.
        output: name of the output that holds the logits.
        classes: names of the classes, in the order of the logits; empty for other tasks.
        comparison: the before/after table.
        verification: the checks.
        layers: costs of each layer, in the order of the graph.
        histograms: weights of each layer before and after.
        latency_before_ms: raw samples of the baseline.
        latency_after_ms: raw samples of the file that ships.
        left_alone: what the passes did not transform.
        notes: sentences worth knowing: wrappers of the checkpoint that were undone.
        calibration: settings and what they were chosen on, by name.
        ledger: bytes of the file by kind of content.
        exits: of a network with exits; None for others.
        charts: further curves, such as those of training.
        machine: what it was measured on, by name.
        versions: of the software, by package.
        seed: of everything random.
        threads: of the runtime while measuring.
        history: what happened, step by step.
        raw: further texts to look up, such as metrics.json, by title.
    """

    name: str
    model: str
    data: str = ""
    file: str = "model.onnx"
    command: str = ""
    recipe_yaml: str
    target: TargetFacts
    input: InputFacts
    output: str = "output"
    classes: tuple[str, ...] = ()
    comparison: Comparison
    verification: tuple[Check, ...] = ()
    layers: tuple[LayerRow, ...] = ()
    histograms: tuple[HistogramPair, ...] = ()
    latency_before_ms: tuple[float, ...] = ()
    latency_after_ms: tuple[float, ...] = ()
    left_alone: tuple[LeftAlone, ...] = ()
    notes: tuple[str, ...] = ()
    calibration: Mapping[str, str] = field(default_factory=dict)
    ledger: tuple[LedgerRow, ...] = ()
    exits: ExitFacts | None = None
    charts: tuple[LineChart, ...] = ()
    machine: Mapping[str, str] = field(default_factory=dict)
    versions: Mapping[str, str] = field(default_factory=dict)
    seed: int
    threads: int
    history: tuple[HistoryEvent, ...] = ()
    raw: Mapping[str, str] = field(default_factory=dict)

    @property
    def failed(self) -> tuple[Check, ...]:
        """The checks that failed."""
        return tuple(row for row in self.verification if row.outcome == "failed")

    @property
    def verdict(self) -> Literal["verified", "gate missed", "not verified"]:
        """Whether the file agrees with the model that was trained; "not verified" where no comparison had a bound."""
        if self.failed:
            return "gate missed"
        agreed = any(row.outcome == "passed" and row.name in AGREEMENT_CHECKS for row in self.verification)
        return "verified" if agreed else "not verified"
