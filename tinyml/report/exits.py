"""What a report says of a network with exits: who leaves where, what an exit is worth, what other thresholds give."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final, final

from tinyml.measure.exits import ACCURACY_OF_ALL, EXAMPLES, MACS, RIGHT, THRESHOLD
from tinyml.measure.measurement import Measurement
from tinyml.numerics.exit_rules import ExitRule, is_never
from tinyml.passes.exit_choice import ExitChoice
from tinyml.report.layer_bars import LayerBar, layer_bars
from tinyml.report.line_chart import LineChart, Series
from tinyml.report.units import count_text, milliseconds_text, share_text

END: Final = "the end"
COLUMNS: Final = (
    "exit",
    "examples",
    "right of those",
    "right if all left there",
    "MACs so far",
    "latency",
    "leaves from",
)


@final
@dataclass(frozen=True, kw_only=True)
class ExitRow:
    """One exit.

    Attributes:
        name: "0 layer1", the last "the end".
        examples: how many leave there.
        right: how many of these are right.
        accuracy_of_all: share (0-1) of all examples that would be right if all left there.
        macs: multiply-adds of coming so far.
        latency_ms: median of the timed calls that left there; None where none did.
        threshold: confidence from which on an example leaves; None for the end, where all do.
    """

    name: str
    examples: int
    right: int
    accuracy_of_all: float
    macs: int
    latency_ms: float | None
    threshold: float | None


@final
@dataclass(frozen=True, kw_only=True)
class ExitFacts:
    """All exits of a network.

    Attributes:
        rule: how a confidence is computed.
        rows: the exits in their order, the end last.
        chosen: a sentence on how thresholds were chosen.
        curve: what other thresholds would give, on validation data.
    """

    rule: ExitRule
    rows: tuple[ExitRow, ...]
    chosen: str
    curve: LineChart


def exit_facts(measured: Mapping[str, Measurement], choice: ExitChoice, places: Sequence[str]) -> ExitFacts | None:
    """Return the facts; None where the data gave no score, so that it is not known who leaves where.

    Args:
        measured: the measurements of the file, by metric.
        choice: how thresholds were chosen.
        places: names of the places of the early exits.
    """
    if "early_exits" not in measured:
        return None
    facts, times = measured["early_exits"].details, measured["latency_mean_ms"].details
    names = [*(f"{index} {place}" for index, place in enumerate(places)), END]
    rows = tuple(
        ExitRow(
            name=name,
            examples=int(facts[f"exit_{index}_{EXAMPLES}"]),
            right=int(facts[f"exit_{index}_{RIGHT}"]),
            accuracy_of_all=float(facts[f"exit_{index}_{ACCURACY_OF_ALL}"]),
            macs=int(facts[f"exit_{index}_{MACS}"]),
            latency_ms=_number(times, f"exit_{index}_median_ms"),
            threshold=_number(facts, f"exit_{index}_{THRESHOLD}"),
        )
        for index, name in enumerate(names)
    )
    return ExitFacts(rule=choice.policy.rule, rows=rows, chosen=_chosen(choice), curve=_curve(choice))


def exit_cells(facts: ExitFacts) -> list[list[str]]:
    """Return the exits as texts, in the order of COLUMNS."""
    total = sum(row.examples for row in facts.rows)
    return [
        [
            row.name,
            f"{row.examples:,} ({share_text(row.examples / total, total)})",
            share_text(row.right / row.examples, row.examples) if row.examples else "-",
            share_text(row.accuracy_of_all, total),
            count_text(row.macs),
            "-" if row.latency_ms is None else milliseconds_text(row.latency_ms),
            _leaves_from(facts.rule, index, row.threshold),
        ]
        for index, row in enumerate(facts.rows)
    ]


def exit_histogram(facts: ExitFacts) -> str:
    """Return the figure of who leaves where."""
    bars = [LayerBar(name=row.name, before=None, after=float(row.examples)) for row in facts.rows]
    return layer_bars("Examples that leave", bars, count_text, compared=False, of="exit")


def _chosen(choice: ExitChoice) -> str:
    cost, goal = _cost(choice), choice.goal
    wanted = {
        "max_drop_points": f"at most {goal.budget:g} points below the network's own answer, as early as can be",
        "keep_macs": f"at most {goal.budget:g} of the multiply-adds, with as many right as can be",
        "keep_latency": f"at most {goal.budget:g} of the latency, with as many right as can be",
    }[goal.goal]
    missed = "" if choice.reached else " This was not reached."
    lost = f"{abs(choice.drop_points):.2f} points are {'lost' if choice.drop_points >= 0 else 'gained'}"
    more = (
        f" Other examples are expected to lose {choice.optimism_points:.2f} points more than those that thresholds "
        "were chosen on (by the bootstrap), which was taken off the budget."
        if choice.optimism_points
        else ""
    )
    return (
        f"Thresholds were chosen on {choice.examples:,} validation examples, on the exported stages: {wanted}. There "
        f"{lost} and {share_text(choice.kept)} of the {cost} stay, of those of the uncompressed network.{missed}{more}"
    )


def _curve(choice: ExitChoice) -> LineChart:
    """Return accuracy against cost over thresholds."""
    cost = _cost(choice)
    points = [(100 * point.cost / choice.whole, 100 * point.accuracy) for point in choice.curve]
    chosen = (100 * choice.kept, 100 * choice.point.accuracy)
    nobody = (100 * choice.costs[-1] / choice.whole, 100 * choice.accuracies[-1])
    return LineChart(
        title=f"Accuracy against {cost}",
        x_label=f"{cost} that stay, % of the uncompressed network",
        y_label="accuracy on validation data, %",
        series=(
            Series(name="best thresholds", x=tuple(x for x, _ in points), y=tuple(y for _, y in points)),
            Series(name="chosen", x=(chosen[0],), y=(chosen[1],), role="after", joined=False),
            Series(name="nobody leaves early", x=(nobody[0],), y=(nobody[1],), role="before", joined=False),
        ),
        note=f"Validation data, {choice.examples:,} examples: not what the table above was measured on.",
    )


def _cost(choice: ExitChoice) -> str:
    return "milliseconds" if choice.goal.goal == "keep_latency" else "multiply-adds"


def _leaves_from(rule: ExitRule, exit_index: int, threshold: float | None) -> str:
    if threshold is None:
        return "-"
    return "never" if is_never(rule, threshold, exit_index=exit_index) else f"{threshold:g}"


def _number(details: Mapping[str, float | int | str], name: str) -> float | None:
    return float(details[name]) if name in details else None
