"""What `tinyml compare` prints: tables for a terminal, or CSV."""

import csv
import sys

from tinyml.cli.console import print_table, results
from tinyml.report.run_facts import RunComparison
from tinyml.report.run_rows import (
    ANSWERS,
    CHURN,
    COSTS,
    EXPLAINED,
    TIMED,
    answer_rows,
    churn_rows,
    cost_rows,
    numbers,
    timed_rows,
)


def print_comparison(comparison: RunComparison) -> None:
    """Print two tables for each baseline, what was asked for beside them, the recipes, and what to know."""
    for group in comparison.groups:
        print_table(ANSWERS, answer_rows(group), title=group.name)
        print_table(COSTS, cost_rows(group), right=COSTS[2:8])
    if comparison.timed:
        print_table(TIMED, timed_rows(comparison), title="Timed together, in one interleaved run", right=TIMED[1:3])
    for label, churn in comparison.churn.items():
        print_table(CHURN, churn_rows(churn), title=f"{label}: lost and gained by prediction depth", right=CHURN)
    lines = [
        f"{run.number} {run.name}: {', '.join(run.passes) or 'no passes'}; for {run.target}" for run in comparison.runs
    ]
    for line in (*lines, "", *EXPLAINED, *(f"Note: {note}" for note in comparison.notes)):
        results().print(line, markup=False)


def print_csv(comparison: RunComparison) -> None:
    """Print a head and one line a run; what is not known is empty. Times and churn follow by their names."""
    rows = [
        {**numbers(run, group), **_beside(comparison, run.label)} for group in comparison.groups for run in group.runs
    ]
    writer = csv.DictWriter(sys.stdout, rows[0].keys(), lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)


def _beside(comparison: RunComparison, label: str) -> dict[str, float | None]:
    """Return what was measured for the comparison itself."""
    found: dict[str, float | None] = {}
    if comparison.timed:
        times = comparison.timed[label]["latency_ms"]
        low, high = times.interval or (None, None)
        found |= {"latency_ms": times.value, "latency_ms_low": low, "latency_ms_high": high}
    if comparison.churn:
        total = comparison.churn[label].total
        found |= {"lost": len(total.lost), "gained": len(total.gained)}
    return found
