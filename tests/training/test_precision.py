import copy
from dataclasses import replace
from itertools import pairwise

import pytest
import torch
from torch import Tensor, nn

from tinyml.data import Task
from tinyml.errors import UsageError
from tinyml.training import DivergenceError, Position, TrainingSettings, train
from tinyml.training.losses import cross_entropy
from tinyml.training.precision import MAX_SKIPPED, Arithmetic, Precision, check_precision
from tinyml.training.weights import copy_out, digest

CPU = torch.device("cpu")


@pytest.mark.parametrize("precision", ["float32", "bfloat16", "float16"])
def test_the_forward_is_computed_in_the_precision_and_scored_in_float32(
    task: Task, settings: TrainingSettings, module: nn.Module, precision: Precision
) -> None:
    seen: dict[bool, set[torch.dtype]] = {True: set(), False: set()}
    module[5].register_forward_hook(lambda part, _, outputs: seen[part.training].add(outputs.dtype))
    result = train(module, task, replace(settings, precision=precision, epochs=6))
    assert seen == {True: {getattr(torch, precision)}, False: {torch.float32}}
    assert result.best.validation_score == 1.0
    assert {tensor.dtype for tensor in module.parameters()} == {torch.float32}


def test_an_interrupted_float16_training_ends_in_the_same_bytes(
    task: Task, settings: TrainingSettings, module: nn.Module
) -> None:
    chosen = replace(settings, precision="float16", gradient_clip=1.0)
    store, again = Kept(), copy.deepcopy(module)
    undisturbed = copy.deepcopy(module)
    train(undisturbed, task, chosen, objective=overflowing(3, 4, 5))
    with pytest.raises(KeyboardInterrupt):
        train(module, task, chosen, objective=overflowing(3, 4, 5), store=store, save_interval_s=0.0, on_step=[stop])
    train(again, task, chosen, objective=overflowing(), store=store, save_interval_s=0.0)
    assert digest(again) == digest(undisturbed)


def test_a_step_whose_gradient_overflows_is_left_out(task: Task, settings: TrainingSettings, module: nn.Module) -> None:
    weights: list[Tensor] = []
    chosen = replace(settings, precision="float16", gradient_clip=1.0, epochs=1)
    remember = lambda own, _: weights.append(copy_out(own)["5.weight"])  # noqa: E731  # a hook of one line
    train(module, task, chosen, objective=overflowing(1), on_step=[remember])
    assert [torch.equal(a, b) for a, b in pairwise(weights)] == [True, False, False]


def test_many_overflows_in_a_row_are_a_divergence(task: Task, settings: TrainingSettings, module: nn.Module) -> None:
    before = digest(module)
    chosen = replace(settings, precision="float16", batch_size=2)
    message = rf"not finite in float16, {MAX_SKIPPED} steps.*precision float32 \(now float16\)"
    with pytest.raises(DivergenceError, match=message):
        train(module, task, chosen, objective=overflowing(*range(100)))
    assert digest(module) == before


def test_the_scale_halves_at_an_overflow_and_survives_a_state() -> None:
    arithmetic, again = Arithmetic("float16", CPU), Arithmetic("float16", CPU)
    weight = nn.Parameter(torch.ones(1))
    optimizer = torch.optim.SGD([weight], lr=1.0)
    arithmetic.backward((weight * torch.inf).sum(), optimizer)
    arithmetic.step(optimizer)
    again.restore(arithmetic.tensors())
    assert (weight.item(), again.skipped, again.tensors()["scale"].item()) == (1.0, 1, 2.0**15)
    assert again.tensors() == arithmetic.tensors()


def test_gradients_are_no_longer_scaled_when_they_are_clipped() -> None:
    arithmetic, weight = Arithmetic("float16", CPU), nn.Parameter(torch.ones(1))
    arithmetic.backward(3 * weight.sum(), torch.optim.SGD([weight], lr=1.0))
    assert weight.grad == 3.0


def test_overflows_are_counted_across_an_interruption(
    task: Task, settings: TrainingSettings, module: nn.Module
) -> None:
    chosen, store = replace(settings, precision="float16", batch_size=2), Kept()
    again, always = copy.deepcopy(module), range(100)
    with pytest.raises(KeyboardInterrupt):
        train(module, task, chosen, objective=overflowing(*always), store=store, save_interval_s=0.0, on_step=[stop])
    with pytest.raises(DivergenceError, match=f"epoch 1, step {MAX_SKIPPED}:"):
        train(again, task, chosen, objective=overflowing(*always), store=store)


def test_a_device_without_the_precision_is_refused() -> None:
    with pytest.raises(
        UsageError, match=r"device 'meta' does not train in precision bfloat16: .*Use precision float32"
    ):
        check_precision("bfloat16", torch.device("meta"))


class Kept:
    """A store in memory."""

    state: bytes | None = None

    def load(self) -> bytes | None:
        return self.state

    def save(self, state: bytes) -> None:
        self.state = state


def stop(_: nn.Module, position: Position) -> None:
    if position.step == 6:
        raise KeyboardInterrupt


def overflowing(*steps: int):  # type: ignore[no-untyped-def]  # an objective
    """A finite loss whose gradient is infinite at some steps: the root's slope at zero."""
    calls = iter(range(1000))

    def objective(module: nn.Module, inputs: Tensor, targets: Tensor) -> Tensor:
        outputs = module(inputs).float()
        steep = (outputs - outputs.detach()).abs().sum().sqrt() if next(calls) in steps else 0.0
        return cross_entropy(outputs, targets) + steep

    return objective
