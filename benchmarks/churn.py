"""What compressed networks forget, by prediction depth: examples that only the dense network, or only they, get right.

    python benchmarks/churn.py card.yaml --difficulty runs/difficulty --run int8=runs/int8 --run kmeans4=runs/kmeans4

Depths with few examples stand together: `--bins 0,8,16,19` makes 0 to 7, 8 to 15, 16 to 18, and 19 and more.
"""

import argparse
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path

from record import record

from tinyml import load_task
from tinyml.analysis.churn import Churn, DepthChurn
from tinyml.measure.statistics import wilson_interval
from tinyml.pipeline.compare_runs import churn_of_runs, read_runs
from tinyml.progress import Silent

Figures = dict[str, object]


def main() -> None:
    """Compare every run with its baseline, print a row for each depth, record all."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data")
    parser.add_argument("--difficulty", type=Path, required=True)
    parser.add_argument("--run", action="append", required=True, metavar="NAME=RUN")
    parser.add_argument("--bins", default="0,8,16,19", help="the first depth of each")
    arguments = parser.parse_args()
    names, folders = zip(*(each.split("=", 1) for each in arguments.run), strict=True)
    bins = [int(each) for each in arguments.bins.split(",")]
    groups, task = read_runs([Path(folder) for folder in folders]), load_task(arguments.data)
    found = churn_of_runs(groups, arguments.difficulty, task=task, threads=1, progress=Silent())
    rows = {name: rows_of(churn, bins) for name, churn in zip(names, found.values(), strict=True)}
    for name, each in rows.items():
        print(name, *each, sep="\n  ")
    record("churn", {"data": task.name, "rows": rows})


def rows_of(churn: Churn, bins: Sequence[int]) -> list[Figures]:
    """Return the figures of every bin of depths, and of all."""
    last = max(each.depth or 0 for each in churn.by_depth)
    names = [f"{first} to {after - 1}" for first, after in pairwise([*bins, last + 1])]
    parts = [
        [each for each in churn.by_depth if each.depth is not None and first <= each.depth < after]
        for first, after in pairwise([*bins, last + 1])
    ]
    return [row(name, part) for name, part in [*zip(names, parts, strict=True), ("all", [churn.total])]]


def row(name: str, depths: Sequence[DepthChurn]) -> Figures:
    """Return the figures of some depths together; shares in percent, with the 95 % interval of what was lost."""
    n, right = sum(each.n for each in depths), sum(each.right_before for each in depths)
    lost, gained = (sum(len(getattr(each, kind)) for each in depths) for kind in ("lost", "gained"))
    return {
        "depths": name,
        "n": n,
        "right_before": right,
        "lost": lost,
        "gained": gained,
        "lost_percent": round(100 * lost / right, 2),
        "lost_interval": [round(100 * each, 2) for each in wilson_interval(lost, right)],
        "net_points": round(100 * (gained - lost) / n, 2),
    }


if __name__ == "__main__":
    main()
