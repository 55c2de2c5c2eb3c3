"""How fine_tuning trains a network with exits: its heads alone or all of it, and what exits learn from the last."""

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Annotated, Literal

import torch
from pydantic import Field
from torch import nn

from tinyml.errors import RecipeError
from tinyml.layers.exit_heads import EXIT_HEADS, has_exits
from tinyml.passes.checked_settings import check_settings
from tinyml.training import ExitLoss, frozen, heads_alone


@dataclass(frozen=True, kw_only=True)
class ExitTraining:
    """How exits take part in a training; without exits in the network it says nothing.

    Attributes:
        train: "all", or "heads": the network in front of them stays as it is, bit for bit.
        weights: factor of each exit's loss, in order, the last the network's own; empty for 1 each.
        distill: share (0-1) of an exit's loss that it learns from the network's own softened answer; where a teacher
            takes part, exits learn from it instead, and neither this nor temperature may be given.
        temperature: which softens both, above 0.
    """

    train: Literal["all", "heads"] = "all"
    weights: tuple[Annotated[float, Field(ge=0, allow_inf_nan=False)], ...] = ()
    distill: Annotated[float, Field(ge=0, le=1)] = 0.5
    temperature: Annotated[float, Field(gt=0, allow_inf_nan=False)] = 4.0

    def __post_init__(self) -> None:
        """Refuse values that are not allowed, see `check_settings`, and weights with which nothing is trained."""
        check_settings(self)
        trained = self.weights[:-1] if self.train == "heads" else self.weights
        if self.weights and not any(trained):
            of = "but the last " if self.train == "heads" else ""
            raise RecipeError(f"weights: all {of}are 0, so that train: {self.train} trains nothing")

    @property
    def loss(self) -> ExitLoss:
        """Return how the exits' losses become one."""
        return ExitLoss(weights=self.weights, share=self.distill, temperature=self.temperature)

    @property
    def sets_distillation(self) -> bool:
        """Whether it is said how exits learn from the network's own answer: not where both values are the defaults."""
        return (self.distill, self.temperature) != (ExitTraining.distill, ExitTraining.temperature)

    def check(self, module: nn.Module) -> None:
        """Refuse settings for exits that the network does not have.

        Raises:
            RecipeError: saying how many there are.
        """
        if not has_exits(module):
            if self != ExitTraining():
                raise RecipeError("fine_tuning: exits: the network has none; put early_exit before, or leave exits out")
            return
        count = len(list(module.get_submodule(EXIT_HEADS).children())) + 1
        if self.weights and len(self.weights) != count:
            raise RecipeError(
                f"fine_tuning: exits: {len(self.weights)} weights are given and {count} are needed, one for each exit "
                "and the last for the network's own output"
            )


@contextmanager
def held(module: nn.Module, freeze: Sequence[str], exits: ExitTraining) -> Iterator[None]:
    """Let nothing that is not to be trained require a gradient while the context is open."""
    with ExitStack() as stack:
        if exits.train == "heads":
            stack.enter_context(heads_alone(module))
        stack.enter_context(frozen(module, freeze))
        yield


def changed_outside_heads(before: nn.Module, after: nn.Module) -> list[str]:
    """Return the names of the parameters and buffers outside the heads that are not what they were."""
    now = after.state_dict()
    return [
        name
        for name, tensor in before.state_dict().items()
        if not name.startswith(f"{EXIT_HEADS}.") and not torch.equal(tensor, now[name])
    ]
