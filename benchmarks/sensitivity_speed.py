"""Time of a sensitivity scan beside the plain loop: one whole evaluation for each layer and level.

Both compute the same scores, which is checked; batch by batch they take turns, in an order that is drawn anew, on one
thread. Counted is the time of the process on its core (other work on the machine does not count) and by the clock.

    python benchmarks/sensitivity_speed.py CHECKPOINT --model resnet20-cifar --data card.yaml
"""

import argparse
import json
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path

import numpy as np
from record import record

import torch  # isort: skip  # record sets how its idle threads wait

from tinyml import load_recipe, load_target, load_task
from tinyml.analysis.sensitivity.changes import CHANGES
from tinyml.analysis.sensitivity.measure import validation_of, with_fewer_images
from tinyml.analysis.sensitivity.scan import UNCHANGED, Piece, Scanner, ScanSettings
from tinyml.analysis.sensitivity.units import Patterns, Unit, changed
from tinyml.data import Split, Task
from tinyml.pipeline import Job, load_root
from tinyml.training import evaluate

Scores = dict[str, list[float]]


@dataclass
class Clock:
    """Seconds of each batch, on the core and by the clock."""

    core: list[float] = field(default_factory=list)
    wall: list[float] = field(default_factory=list)

    def time(self, work: Callable[[], Scores]) -> Scores:
        """Do the work and keep its time."""
        core, wall = time.process_time(), time.perf_counter()
        result = work()
        self.core.append(time.process_time() - core)
        self.wall.append(time.perf_counter() - wall)
        return result


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("checkpoint", type=Path)
    parser.add_argument("--model", required=True)
    parser.add_argument("--data", required=True)
    parser.add_argument("--pass", dest="pass_name", default="weight_pruning", choices=CHANGES)
    parser.add_argument("--images", type=int, default=1500)
    parser.add_argument("--batch-size", type=int, default=500)
    arguments = parser.parse_args()

    torch.set_num_threads(1)
    task = with_fewer_images(load_task(arguments.data), arguments.images, 0)
    split, change = validation_of(task), CHANGES[arguments.pass_name]
    job = Job(
        checkpoint=arguments.checkpoint,
        model=arguments.model,
        recipe=load_recipe("baseline"),
        target=load_target("cpu"),
        task=task,
    )
    module = load_root(job).compressed.module
    settings = ScanSettings(levels=change.levels, batch_size=arguments.batch_size)
    scanner = Scanner(module, task, split, change, settings)
    units = change.units(module, task.input_shape, Patterns()).units

    clocks = {"plain loop": Clock(), "tinyml sensitivity": Clock()}
    generator = np.random.default_rng(0)
    same = []
    for batch in range(scanner.batches):
        part = part_of(split, batch, arguments.batch_size)
        works = {
            "plain loop": partial(plain, module, task, part, units, change.levels),
            "tinyml sensitivity": partial(ours, scanner, batch),
        }
        found = {name: clocks[name].time(works[name]) for name in generator.permutation(list(works))}
        same.append(found["plain loop"] == found["tinyml sensitivity"])
        print(f"batch {batch + 1} of {scanner.batches}: same scores {same[-1]}", flush=True)
    whole, split_ = clocks["plain loop"], clocks["tinyml sensitivity"]
    facts = {
        "pass": arguments.pass_name,
        "layers": len(units),
        "levels": list(change.levels),
        "images": len(split),
        "batch_size": arguments.batch_size,
        "same_scores": all(same),
        "core_seconds": {name: clock.core for name, clock in clocks.items()},
        "wall_seconds": {name: clock.wall for name, clock in clocks.items()},
        "times_faster_core": sum(whole.core) / sum(split_.core),
        "times_faster_wall": sum(whole.wall) / sum(split_.wall),
    }
    record("sensitivity_speed", facts)
    print(json.dumps(facts, indent=1))


def plain(module: torch.nn.Module, task: Task, part: Split, units: Sequence[Unit], levels: Sequence[float]) -> Scores:
    """Return the scores of one whole evaluation for each layer and level, and one of the network as it is."""
    scores: Scores = {UNCHANGED: [round(evaluate(module, task, part).score * len(part))]}
    for unit in units:
        scores[unit.name] = []
        for level in levels:
            with torch.no_grad(), changed(module, unit.values(level)):
                right = evaluate(module, task, part, batch_size=len(part)).score * len(part)
            scores[unit.name].append(round(right))
    return scores


def ours(scanner: Scanner, batch: int) -> Scores:
    """Return the same scores as the scan finds them."""
    piece = Piece(batch=batch, units=tuple(unit.name for unit in scanner.units))
    return {unit: [each.told[0] for each in told] for unit, told in scanner.run(piece)}


def part_of(split: Split, batch: int, size: int) -> Split:
    """Return one batch of a split."""
    rows = slice(batch * size, (batch + 1) * size)
    return replace(split, x=split.x[rows], y=split.y[rows])


if __name__ == "__main__":
    main()
