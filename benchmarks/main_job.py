"""The main job on trained networks: every row is one `tinyml compress`, measured on the file that it wrote.

    python benchmarks/main_job.py resnet20=resnet20-cifar,resnet20.th,card.yaml --recipe int8 --target x86-avx2

The float and the compressed file are timed in one interleaved run, one thread, batch 1.
"""

import argparse
import tempfile
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

from networks import Network, parse_network
from record import record

from tinyml import Recipe, load_recipe, load_target, load_task
from tinyml.measure import Measurement
from tinyml.pipeline import Job, compress


@dataclass(frozen=True, kw_only=True)
class Row:
    """The figures of one run."""

    network: str
    recipe: str
    target: str
    n: int
    accuracy: tuple[float, float]
    size_bytes: tuple[int, int]
    latency_ms: tuple[float, float]
    faster: tuple[float, float, float]
    agreement: str
    passed: bool

    def markdown(self) -> str:
        """Return the row of a table."""
        before, after = (100 * share for share in self.accuracy)
        ratio, low, high = self.faster
        return (
            f"| {self.network} | {self.recipe}, {self.target} | {before:.2f} % | {after:.2f} % | {self.n:,} "
            f"| {self.size_bytes[0] / 1024:,.0f} | {self.size_bytes[1] / 1024:,.0f} "
            f"| {self.latency_ms[0]:.3f} | {self.latency_ms[1]:.3f} | {ratio:.2f}x [{low:.2f}, {high:.2f}] |"
        )


def main() -> None:
    """Run every network through every recipe for every target, print the table, record it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("networks", nargs="+", type=parse_network, metavar="NAME=MODEL,CHECKPOINT,CARD")
    parser.add_argument("--recipe", action="append", required=True)
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", help="change of every recipe")
    parser.add_argument("--target", action="append", required=True)
    parser.add_argument("--result", default="main_job", help="name of the file in benchmarks/results")
    parser.add_argument("--runs", type=Path, help="keep the run directories here, and go on with those that are there")
    arguments = parser.parse_args()
    rows = []
    with ExitStack() as stack:
        runs = arguments.runs or Path(stack.enter_context(tempfile.TemporaryDirectory()))
        for network in arguments.networks:
            for recipe in arguments.recipe:
                for target in arguments.target:
                    rows.append(run(network, load_recipe(recipe, arguments.set), target, runs))
                    print(rows[-1].markdown(), flush=True)
    record(arguments.result, {"rows": [vars(row) for row in rows]})


def run(network: Network, recipe: Recipe, target: str, runs: Path) -> Row:
    """Return the figures of one run, which is made or continued in a folder of `runs`."""
    job = Job(
        checkpoint=network.checkpoint,
        model=network.model,
        recipe=recipe,
        target=load_target(target),
        task=load_task(network.card),
    )
    outcome = compress(job, runs / f"{network.name}-{recipe.name}-{target}", resume=True)
    before, after = outcome.measurements["baseline"], outcome.measurements["model"]

    def both(metric: str) -> tuple[float, float]:
        return before[metric].value, after[metric].value

    ratio: Measurement = after["latency_ratio"]
    low, high = ratio.interval or (0.0, 0.0)
    agreement = [check.value for check in outcome.verification.checks if check.name.startswith("same answer")]
    return Row(
        network=network.name,
        recipe=recipe.name,
        target=job.target.name,
        n=after["accuracy"].n or 0,
        accuracy=both("accuracy"),
        size_bytes=(int(both("size_bytes")[0]), int(both("size_bytes")[1])),
        latency_ms=both("latency_ms"),
        faster=(ratio.value, low, high),
        agreement=agreement[0] if agreement else "",
        passed=outcome.verification.passed,
    )


if __name__ == "__main__":
    main()
