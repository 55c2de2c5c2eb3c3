"""The table of metrics: what is measured of every file. A new metric is one file and one row here."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, Literal, final

from tinyml.data.task import Task
from tinyml.errors import TinymlError
from tinyml.measure.accuracy import Scores, accuracy, accuracy_difference, area_under_curve
from tinyml.measure.entropy import entropy_bytes
from tinyml.measure.exits import ExitScores, early_exits
from tinyml.measure.latency import LatencyRun, latency_ms, latency_ratio
from tinyml.measure.latency_mean import latency_mean_ms, latency_mean_ratio
from tinyml.measure.ledger import loaded_bytes
from tinyml.measure.macs import macs
from tinyml.measure.measurement import Measurement
from tinyml.measure.memory import peak_activation_bytes
from tinyml.measure.network import Network
from tinyml.measure.parameters import parameters, parameters_nonzero
from tinyml.measure.size import size_bytes, size_gzip_bytes
from tinyml.progress import Progress
from tinyml.runtime.session import Session


@final
@dataclass(frozen=True, kw_only=True)
class Subject:
    """A file that is being measured.

    Attributes:
        network: its graph.
        session: the network opened in the runtime.
        latency: what the interleaved run gave.
        task: where examples come from, if there is one.
        scores: which examples it gets right; None without a task of classification.
        baseline_scores: the same of the baseline; None for the baseline itself, too.
        beside_exits: whether it, or a file that it is measured beside, has exits: time depends on the example then.
        exits: what its exits make of the examples; None without exits, or without a task of classification.
        seed: of bootstraps.
        progress: told of long work.
    """

    network: Network
    session: Session
    latency: LatencyRun
    task: Task | None
    scores: Scores | None
    baseline_scores: Scores | None
    beside_exits: bool
    exits: ExitScores | None
    seed: int
    progress: Progress


@final
@dataclass(frozen=True, kw_only=True)
class Metric:
    """A row of the table.

    Attributes:
        unit: unit of the values.
        better: which way is better; "neither" for facts.
        measure: measures a subject.
        needs: "file", or the kind of task that must be there; "paired classification" wants a baseline, too; "stream"
            examples and a file with exits among those measured, "exits" that this is one, and a task of classification.
    """

    unit: str
    better: Literal["lower", "higher", "neither"]
    measure: Callable[[Subject], Measurement]
    needs: Literal["file", "classification", "paired classification", "reconstruction", "stream", "exits"] = "file"


def _task(subject: Subject) -> Task:
    """Return the subject's task, which `measure_files` made sure of."""
    if subject.task is None:
        raise TinymlError("This metric wants a task.")
    return subject.task


def _made(scores: Scores | None) -> Scores:
    """Return the scores, which `measure_files` made sure of."""
    if scores is None:
        raise TinymlError("This metric wants a task of classification.")
    return scores


def _at_exits(subject: Subject) -> ExitScores:
    """Return what the exits make of the examples, which `measure_files` made sure of."""
    if subject.exits is None:
        raise TinymlError("This metric wants a network with exits.")
    return subject.exits


METRICS: Final[dict[str, Metric]] = {
    "accuracy": Metric(
        unit="share", better="higher", needs="classification",
        measure=lambda subject: accuracy(_made(subject.scores)),
    ),
    "accuracy_difference": Metric(
        unit="share", better="higher", needs="paired classification",
        measure=lambda subject: accuracy_difference(_made(subject.baseline_scores), _made(subject.scores)),
    ),
    "auc": Metric(
        unit="share", better="higher", needs="reconstruction",
        measure=lambda subject: area_under_curve(subject.session, _task(subject), subject.progress, subject.seed),
    ),
    "early_exits": Metric(
        unit="share", better="neither", needs="exits",
        measure=lambda subject: early_exits(subject.network, _at_exits(subject)),
    ),
    "entropy_bytes": Metric(
        unit="bytes", better="lower",
        measure=lambda subject: entropy_bytes(subject.network),
    ),
    "latency_mean_ms": Metric(
        unit="ms", better="lower", needs="stream",
        measure=lambda subject: latency_mean_ms(subject.latency, seed=subject.seed),
    ),
    "latency_mean_ratio": Metric(
        unit="x", better="higher", needs="stream",
        measure=lambda subject: latency_mean_ratio(subject.latency, seed=subject.seed),
    ),
    "latency_ms": Metric(
        unit="ms", better="lower",
        measure=lambda subject: latency_ms(subject.latency),
    ),
    "latency_ratio": Metric(
        unit="x", better="higher",
        measure=lambda subject: latency_ratio(subject.latency),
    ),
    "loaded_bytes": Metric(
        unit="bytes", better="lower",
        measure=lambda subject: loaded_bytes(subject.network),
    ),
    "macs": Metric(
        unit="MACs", better="lower",
        measure=lambda subject: macs(subject.network, subject.exits.taken if subject.exits is not None else None),
    ),
    "parameters": Metric(
        unit="parameters", better="lower",
        measure=lambda subject: parameters(subject.network),
    ),
    "parameters_nonzero": Metric(
        unit="parameters", better="lower",
        measure=lambda subject: parameters_nonzero(subject.network),
    ),
    "peak_activation_bytes": Metric(
        unit="bytes", better="lower",
        measure=lambda subject: peak_activation_bytes(subject.network),
    ),
    "size_bytes": Metric(
        unit="bytes", better="lower",
        measure=lambda subject: size_bytes(subject.network),
    ),
    "size_gzip_bytes": Metric(
        unit="bytes", better="lower",
        measure=lambda subject: size_gzip_bytes(subject.network),
    ),
}  # fmt: skip
