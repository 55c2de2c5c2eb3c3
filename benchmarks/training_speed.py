"""Images a second of `tinyml.training.train` beside a bare torch loop, interleaved in one run.

Both train the same network from the same weights with the same batch, loss, optimizer, memory layout and threads, in
float32. The trainer crops, flips and normalises each batch, seeds each step, follows its schedule, checks the loss and
repeats itself to the bit. The bare loop does none of this: its batches lie normalised in memory, and torch may choose
its fastest algorithms. Validation is left out.

Short blocks of steps alternate, in an order drawn anew each round; a second bare loop beside the first shows what
difference the noise alone makes. The trainer's own hook after each step is where its blocks end and the others run.

    python benchmarks/training_speed.py --data card.yaml
"""

import argparse
import copy
import json
import os
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import replace
from itertools import cycle, islice

import numpy as np
from record import record

import torch  # isort: skip  # record sets how its idle threads wait
from torch import Tensor, nn

from tinyml import Task, create_model, load_task
from tinyml.measure.statistics import ratio_of_medians, resampled_times
from tinyml.training import Position, TrainingSettings, train
from tinyml.training.losses import cross_entropy
from tinyml.training.optimizer import make_optimizer

TRAINER, BARE, CONTROL = "tinyml", "bare loop", "bare loop again"
BARE_BATCHES = 64

Batch = tuple[Tensor, Tensor]
"""Inputs and targets."""


class FinishedError(Exception):
    """Ends the trainer's run once every round was timed."""


class BareLoop:
    """What one writes without a trainer: the steps and nothing else, over batches that are ready."""

    def __init__(
        self, network: nn.Module, batches: Sequence[tuple[Tensor, Tensor]], settings: TrainingSettings
    ) -> None:
        self.network, self.settings = network.train(), settings
        self.batches = cycle(batches)
        self.optimizer = make_optimizer(network, settings)

    def run(self, steps: int) -> None:
        """Train for some steps."""
        for inputs, targets in islice(self.batches, steps):
            loss = cross_entropy(self.network(inputs), targets, label_smoothing=self.settings.label_smoothing)
            self.optimizer.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]  # torch leaves it without types
            self.optimizer.step()


class Rounds:
    """Times blocks of steps: the trainer's between calls of its hook, the others' inside that hook.

    Attributes:
        seconds: of each contender's blocks, one a round.
    """

    def __init__(self, others: dict[str, BareLoop], *, rounds: int, block: int, device: str) -> None:
        self.others, self.block, self.device = others, block, device
        generator = np.random.default_rng(0)
        names = [TRAINER, *others]
        self.order = iter([str(name) for _ in range(rounds) for name in generator.permutation(names)])
        self.seconds: dict[str, list[float]] = {name: [] for name in names}
        self.warm = False
        self.start = 0.0

    def __call__(self, _: nn.Module, position: Position) -> None:
        """Take the trainer's time where a block of its steps ends, then run the blocks up to its next one."""
        if (position.step + 1) % self.block:
            return
        if self.warm:
            self.seconds[TRAINER].append(self.clock() - self.start)
        with unconstrained():
            if not self.warm:
                for loop in self.others.values():
                    loop.run(self.block)
            self.warm = True
            for name in self.order:
                if name == TRAINER:
                    break
                self.time(name)
            else:
                raise FinishedError
        self.start = self.clock()

    def time(self, name: str) -> None:
        """Time one block of a bare loop."""
        start = self.clock()
        self.others[name].run(self.block)
        self.seconds[name].append(self.clock() - start)

    def clock(self) -> float:
        """Return the time, once the device has done all that it was told."""
        if self.device != "cpu":
            torch.cuda.synchronize()
        return time.perf_counter()


@contextmanager
def unconstrained() -> Iterator[None]:
    """Let torch choose its algorithms by speed alone while the context is open, as it does outside a training."""
    torch.use_deterministic_algorithms(False)
    try:
        yield
    finally:
        torch.use_deterministic_algorithms(True, warn_only=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", required=True, help="a data card")
    parser.add_argument("--model", default="resnet20-cifar")
    parser.add_argument("--batch-size", type=int, default=64)
    parser.add_argument("--rounds", type=int, default=40)
    parser.add_argument("--block", type=int, default=4, help="steps of a block")
    parser.add_argument("--threads", type=int, default=len(os.sched_getaffinity(0)))
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--result", default="training_speed", help="name of the file in benchmarks/results")
    arguments = parser.parse_args()

    torch.set_num_threads(arguments.threads)
    settings = TrainingSettings(batch_size=arguments.batch_size)
    task = replace(load_task(arguments.data), validation=None)
    torch.manual_seed(settings.seed)
    network = create_model(arguments.model, {})
    batches = ready_batches(task, settings, arguments.device)
    others = {name: BareLoop(laid_out(network, arguments.device), batches, settings) for name in (BARE, CONTROL)}
    rounds = Rounds(others, rounds=arguments.rounds, block=arguments.block, device=arguments.device)
    with suppress(FinishedError):
        train(network, task, settings, on_step=[rounds], device=arguments.device)
    facts = {
        "model": arguments.model,
        "data": task.name,
        "batch_size": arguments.batch_size,
        "block": arguments.block,
        "threads": arguments.threads,
        "device": torch.cuda.get_device_name() if arguments.device != "cpu" else "cpu",
        "images_per_second": {
            name: arguments.block * arguments.batch_size / float(np.median(values))
            for name, values in rounds.seconds.items()
        },
        "speed_of_bare_loop": {name: compared(rounds.seconds, name) for name in (TRAINER, CONTROL)},
    }
    record(arguments.result, {**facts, "seconds": rounds.seconds})
    print(json.dumps(facts, indent=1))


def ready_batches(task: Task, settings: TrainingSettings, device: str) -> list[Batch]:
    """Return batches of train images, on the device and in the memory layout that the networks compute in."""
    split, size = task.train, settings.batch_size
    if split is None:
        raise SystemExit(f"{task.name} has no train split")
    starts = range(0, len(split) - size + 1, size)[:BARE_BATCHES]
    drawn = [(task.inputs(split.x[start : start + size]), split.y[start : start + size]) for start in starts]
    return [
        (torch.from_numpy(x).to(device, memory_format=torch.channels_last), torch.from_numpy(y).to(device))
        for x, y in drawn
    ]


def laid_out(network: nn.Module, device: str) -> nn.Module:
    """Return a copy of the network on the device, computing on (N, H, W, C) memory."""
    return copy.deepcopy(network).to(device).to(memory_format=torch.channels_last)  # type: ignore[call-overload, no-any-return]  # torch's types lack this form


def compared(seconds: dict[str, list[float]], name: str) -> dict[str, float]:
    """Return the speed of a contender as a share of the bare loop's, with its 95 % interval."""
    times = {each: resampled_times(1000 * np.asarray(seconds[each])[:, None], seed=0) for each in (BARE, name)}
    share, (low, high) = ratio_of_medians(times[BARE], times[name])
    return {"share": share, "low": low, "high": high}


if __name__ == "__main__":
    main()
