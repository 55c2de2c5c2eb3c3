"""What a comparison says of finished runs: their measurements, and the numbers that follow from them."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, final

from tinyml.analysis.churn import Churn
from tinyml.measure.ledger import GRAPH
from tinyml.measure.measurement import Measurement
from tinyml.report.changes import measured_change
from tinyml.verification import Verification
from tinyml.verification.agreement import SAME_ANSWER

SCORES: Final = ("accuracy", "auc")
DENSE: Final = "dense"


@final
@dataclass(frozen=True, kw_only=True)
class RunFacts:
    """One finished run.

    Attributes:
        number: its place in the comparison, from 1: pictures name it so.
        name: the path as it was given.
        label: how tables and pictures call it: its folder, where no other run's is called so, else the path.
        recipe: name of the recipe.
        passes: the passes of the recipe with the settings that say most: "fine_tuning epochs=15".
        kind: what was done to the network in this and all earlier runs of the chain: "sparse, k-means".
        target: what the file was made for.
        before: measurements of its baseline, by metric.
        after: measurements of the file that ships.
        verification: every check, gates included.
    """

    number: int
    name: str
    label: str
    recipe: str
    passes: tuple[str, ...]
    kind: str
    target: str
    before: Mapping[str, Measurement]
    after: Mapping[str, Measurement]
    verification: Verification

    @property
    def size_share(self) -> float:
        """Bytes of the file over those of its baseline (0-1, more where it grew)."""
        return self.after["size_bytes"].value / self.before["size_bytes"].value

    @property
    def points(self) -> float | None:
        """Score after minus that of its own baseline, in percentage points; None where one was not measured."""
        before, after = score_of(self.before), score_of(self.after)
        if before is None or after is None:
            return None
        measured = measured_change(after.metric, self.after)
        return 100 * (measured.value if measured else after.value - before.value)

    @property
    def points_interval(self) -> tuple[float, float] | None:
        """Its 95 % interval, from the same examples before and after; None where it was not measured so."""
        measured = self.after.get("accuracy_difference")
        if measured is None or measured.interval is None:
            return None
        return 100 * measured.interval[0], 100 * measured.interval[1]

    @property
    def agreement(self) -> str:
        """On how many inputs the file answers as the trained network does: "99.80% of 1000"; "" where not checked."""
        return next((check.value for check in self.verification.checks if check.name == SAME_ANSWER), "")

    @property
    def gates(self) -> str:
        """Whether all was "passed", or the names of the checks that failed."""
        failed = [check.name for check in self.verification.failed]
        return f"FAILED: {', '.join(failed)}" if failed else "passed"


@final
@dataclass(frozen=True, kw_only=True)
class RunGroup:
    """Runs of one uncompressed network, scored on the same data: only these are compared in points.

    Attributes:
        model: name of the network.
        weights: first digits of the SHA-256 of the uncompressed weights.
        data: the data and split that gave the scores; "" where nothing was scored.
        before: measurements of the baseline, as the first run that has a score took them.
        runs: in the order in which they were given, one at least.
    """

    model: str
    weights: str
    data: str
    before: Mapping[str, Measurement]
    runs: tuple[RunFacts, ...]

    @property
    def name(self) -> str:
        """What they have in common: "resnet20-cifar (weights 19557a5d) on cifar10-jpeg, test split"."""
        return f"{self.model} (weights {self.weights})" + (f" on {self.data}" if self.data else "")


@final
@dataclass(frozen=True, kw_only=True)
class RunComparison:
    """Runs side by side.

    Attributes:
        groups: by baseline.
        notes: what a reader must know before comparing.
        timed: latency and its ratio to the first file, by label: all files timed again in one run; empty without.
        churn: what each run lost and gained by depth, by its label; empty where it was not asked for.
    """

    groups: tuple[RunGroup, ...]
    notes: tuple[str, ...] = ()
    timed: Mapping[str, Mapping[str, Measurement]]
    churn: Mapping[str, Churn]

    @property
    def runs(self) -> tuple[RunFacts, ...]:
        """All runs, group after group."""
        return tuple(run for group in self.groups for run in group.runs)


def score_of(measurements: Mapping[str, Measurement]) -> Measurement | None:
    """Return the accuracy or the area under the ROC curve; None where neither was measured."""
    return next((measurements[metric] for metric in SCORES if metric in measurements), None)


def bits_per_weight(measurements: Mapping[str, Measurement]) -> float | None:
    """Return the bits in the file for each parameter; None where the parameters were not counted.

    All stored tensors count: weights in whatever form, codebooks, scales, masks and biases. The graph does not.
    """
    size, parameters = measurements["size_bytes"], measurements.get("parameters")
    if parameters is None or not parameters.value:
        return None
    graph = size.details.get(GRAPH, 0)
    assert not isinstance(graph, str)  # the ledger holds bytes
    return 8 * (size.value - graph) / parameters.value
