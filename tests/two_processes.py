"""What each of two processes does in test_processes.py: run as `python two_processes.py all|killed OUT`, by the fixture there.

Each case is a function of the joined processes; what it returns, or how it fails, is written to OUT/CASE.RANK.json.
"""

import copy
import json
import math
import os
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import torch
from memory_store import Memory
from torch import Tensor, fx, nn
from torch.nn.utils import parametrize

from tinyml.data import Augmentation, Task, load_task
from tinyml.errors import DataError, TinymlError
from tinyml.layers.attachment import Attachment
from tinyml.training import Position, TrainingSettings, train
from tinyml.training.joining import joined
from tinyml.training.losses import cross_entropy
from tinyml.training.processes import Processes
from tinyml.training.synchronized_batchnorm import synchronized_batchnorm
from tinyml.training.weights import digest

SETTINGS = TrainingSettings(epochs=2, batch_size=32, learning_rate=0.05, warmup=0.1)


def digits() -> Task:
    return replace(load_task("digits"), augmentation=Augmentation(crop=1, cutout=2))


def network(*, norm: bool) -> nn.Module:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        middle = nn.BatchNorm2d(8) if norm else nn.Identity()
        layers = nn.Conv2d(1, 8, 3, padding=1), middle, nn.ReLU(), nn.Flatten(), nn.Linear(512, 10)
        return nn.Sequential(*layers).eval()


class Rounding(Attachment):
    """Zeroes what is near zero; how near grows, and is kept in a buffer of whole numbers."""

    def __init__(self, *shape: int) -> None:
        super().__init__()
        self.register_buffer("thousandths", torch.zeros(1, dtype=torch.int64))
        self.register_buffer("mask", torch.ones(shape, dtype=torch.bool))

    def after_step(self, original: Tensor, share: float) -> None:
        self.thousandths.fill_(int(10 * share))
        self.mask.copy_(original.abs() > self.thousandths / 1000)

    def forward(self, weight: Tensor) -> Tensor:
        return weight * self.mask

    def fault(self, weight: Tensor) -> str:
        return ""


class Rich(nn.Module):
    """A shared layer, an unused one, a frozen one, dropout, an attachment, and a buffer that follows the inputs."""

    def __init__(self) -> None:
        super().__init__()
        self.body = network(norm=True)
        parametrize.register_parametrization(self.body[0], "weight", Rounding(8, 1, 3, 3))
        parametrize.register_parametrization(self.body[4], "weight", Rounding(10, 512))
        self.shared, self.unused, self.frozen = nn.Linear(10, 10), nn.Linear(10, 10), nn.Linear(10, 10)
        self.frozen.requires_grad_(False)
        self.dropout = nn.Dropout(0.2)
        self.register_buffer("seen", torch.zeros(1, 2, 1, 1))

    def forward(self, inputs: Tensor) -> Tensor:
        if self.training:
            self.seen.lerp_(inputs.detach().mean(), 0.1)
        hidden = self.dropout(self.shared(self.body(inputs)))
        return self.frozen(self.shared(hidden)) + self.seen.mean()


def rich() -> nn.Module:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return Rich().eval()


def with_batchnorm(processes: Processes) -> object:
    return _trained(network(norm=True), processes)


def without_batchnorm(processes: Processes) -> object:
    return _trained(network(norm=False), processes)


def in_bfloat16(processes: Processes) -> object:
    return _trained(network(norm=True), processes, replace(SETTINGS, precision="bfloat16"))


def everything(processes: Processes) -> object:
    settings = replace(SETTINGS, ema_decay=0.9, gradient_clip=0.5, optimizer="adamw", learning_rate=0.002)
    module = rich()
    if not processes.leads:  # the first process's weights are everyone's
        nn.init.zeros_(module.shared.weight)
    return _trained(module, processes, settings)


def resumed(processes: Processes) -> object:
    """Stop after step 30, within the second epoch, and go on."""
    store = Memory()

    def stop(_: nn.Module, position: Position) -> None:
        if position.step == 30:
            raise InterruptedError

    try:
        _trained(rich(), processes, store=store, save_interval_s=0.0, on_step=[stop])
    except InterruptedError:
        kept = store.state is not None
    whole, halves = _trained(rich(), processes), _trained(rich(), processes, store=store)
    return {"kept": kept, "same": whole == halves, "whole": whole}


def diverging(processes: Processes) -> object:
    """The loss of the second process alone is NaN, in step 3."""
    steps = iter(range(1000))

    def objective(module: nn.Module, inputs: Tensor, targets: Tensor) -> Tensor:
        broken = next(steps) == 3 and not processes.leads
        return cross_entropy(module(inputs), targets) * (math.nan if broken else 1.0)

    try:
        _trained(network(norm=True), processes, objective=objective)
    except TinymlError as error:
        return str(error)
    return "not noticed"


def normalised(processes: Processes) -> object:
    """The differences between one BatchNorm over both halves of a batch, and one over the whole batch."""
    group = processes.group(torch.device("cpu"))
    cases = {
        "1d": (nn.BatchNorm1d(3), (8, 3)),
        "1d of sequences": (nn.BatchNorm1d(3, momentum=None), (8, 3, 5)),
        "2d": (nn.BatchNorm2d(3, eps=0.1), (8, 3, 4, 4)),
        "3d, plain": (nn.BatchNorm3d(3, affine=False, track_running_stats=False), (8, 3, 2, 2, 2)),
        "traced": (fx.symbolic_trace(nn.Sequential(nn.BatchNorm2d(3))), (8, 3, 4, 4)),
    }
    return {name: _difference(norm, shape, processes, group) for name, (norm, shape) in cases.items()}


def told(processes: Processes) -> object:
    order: object = {"order": 7}
    if processes.leads:
        processes.tell(order)
    else:
        order = processes.hear()
    rank = processes.place.rank
    parts = processes.gathered(torch.full((rank + 1, 2), float(rank)).numpy())
    return {"order": order, "mean": processes.mean(float(rank)), "gathered": parts.tolist()}


def failing_alike(_: Processes) -> object:
    raise DataError("the same in both")


def failing_alone(processes: Processes) -> object:
    if not processes.leads:
        raise DataError("only here")
    processes.meet()
    return None


def killed(processes: Processes) -> object:
    if not processes.leads:
        os._exit(9)
    return processes.mean(1.0)


def _trained(
    module: nn.Module, processes: Processes, settings: TrainingSettings = SETTINGS, **more: object
) -> dict[str, object]:
    result = train(module, digits(), settings, processes=processes, **more)  # type: ignore[arg-type]  # handed through
    history = [(record.loss, record.validation_score) for record in result.history]
    return {"digest": digest(module), "history": history}


def _difference(norm: nn.Module, shape: tuple[int, ...], processes: Processes, group: object) -> float:
    """Return the largest difference of outputs, gradients and statistics."""
    torch.manual_seed(1)
    inputs, factors = torch.randn(shape) * 3 + 5, torch.randn(shape)
    alone, half = copy.deepcopy(norm).train(), processes.share(8)
    whole, part = inputs.clone().requires_grad_(), inputs[half].clone().requires_grad_()
    (alone(whole) * factors).sum().backward()
    own = copy.deepcopy(norm).train()
    with synchronized_batchnorm(own, group):  # type: ignore[arg-type]  # torch's types of groups differ
        outputs = own(part)
    (outputs * factors[half]).sum().backward()
    assert not any("forward" in vars(each) for each in own.modules())
    pairs = [(outputs, alone(whole)[half]), (part.grad, whole.grad[half])]
    pairs += list(zip(own.state_dict().values(), _after_one(norm, inputs).values(), strict=True))
    return max(float((a - b).detach().abs().max()) for a, b in pairs)


def _after_one(norm: nn.Module, inputs: Tensor) -> dict[str, Tensor]:
    fresh = copy.deepcopy(norm).train()
    fresh(inputs)
    return dict(fresh.state_dict())


CASES: list[Callable[[Processes], object]] = [
    with_batchnorm, without_batchnorm, in_bfloat16, everything, resumed, diverging, normalised, told,
    failing_alike, failing_alone,
]  # fmt: skip

if __name__ == "__main__":
    out, rank = Path(sys.argv[2]), os.environ["RANK"]
    for case in CASES if sys.argv[1] == "all" else [killed]:
        try:
            with joined() as both:
                made = case(both)
        except TinymlError as error:
            made = [type(error).__name__, str(error), error.exit_code]
        (out / f"{case.__name__}.{rank}.json").write_text(json.dumps(made))
