from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import ClassVar

import pytest
import torch
from pydantic import InstanceOf
from random_task import random_context

from tinyml.architecture import Architecture
from tinyml.errors import ProcessError
from tinyml.models import create_model
from tinyml.passes import Compressed, Context, Pass
from tinyml.passes.base import Role
from tinyml.pipeline.follow import call_to_train, follow
from tinyml.pipeline.outcome import Outcome
from tinyml.recipe import PassEntry, load_recipe
from tinyml.torchrun import Launch
from tinyml.training import Processes
from tinyml.verification import Verification

OVER = Outcome(path=Path("run"), measurements={}, verification=Verification(checks=()), left_alone=())


class Script(Processes):
    """What the first process told, heard again in the same order."""

    def __init__(self) -> None:
        super().__init__(Launch(rank=1, world_size=2))
        self.orders: list[object] = []

    def tell(self, order: object) -> None:
        self.orders.append(order)

    def hear(self) -> object:
        if not self.orders:
            raise ProcessError("process 0 of 2: the disk is full")
        return self.orders.pop(0)


@dataclass(frozen=True, kw_only=True)
class Noting(Pass):
    """A pass that keeps what it was applied to."""

    role: ClassVar[Role] = "train"
    models: list[InstanceOf[Compressed]] = field(default_factory=list)

    def requires(self, model: Compressed, context: Context) -> None:
        raise NotImplementedError

    def apply(self, model: Compressed, context: Context) -> Compressed:
        self.models.append(model)
        return model

    def ensures(self, before: Compressed, after: Compressed) -> None:
        raise NotImplementedError


@pytest.fixture
def model() -> Iterator[Compressed]:
    with torch.random.fork_rng():
        torch.manual_seed(1)
        yield Compressed(
            module=create_model("lenet-digits"), architecture=Architecture(model="lenet-digits", input_shape=(1, 8, 8))
        )


def test_a_follower_applies_the_pass_it_is_called_for_to_the_model_it_is_handed(model: Compressed) -> None:
    processes, passes = Script(), [Noting(), Noting()]
    recipe = replace(load_recipe("baseline"), passes=tuple(PassEntry(name="noting", settings=each) for each in passes))
    call_to_train(processes, 1, model)
    processes.tell(OVER)
    assert follow(recipe, replace(random_context((1, 8, 8)), processes=processes)) == OVER
    [seen] = passes[1].models
    assert (passes[0].models, seen.architecture) == ([], model.architecture)
    own = seen.module.state_dict()
    assert all(torch.equal(own[name], tensor) for name, tensor in model.module.state_dict().items())


def test_a_follower_ends_where_the_first_process_failed() -> None:
    with pytest.raises(ProcessError, match="process 0 of 2: the disk is full"):
        follow(load_recipe("baseline"), replace(random_context((1, 8, 8)), processes=Script()))


def test_one_process_alone_calls_nobody(model: Compressed) -> None:
    alone = Processes()
    told: list[object] = []
    alone.tell = told.append  # type: ignore[method-assign]
    call_to_train(alone, 0, model)
    assert told == []
