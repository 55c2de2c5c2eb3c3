import re

import pytest
import torch
import torch.nn.functional as F
from random_task import random_task
from tiny_group import Tiny
from torch import nn

from tinyml.data import Task
from tinyml.errors import DataError
from tinyml.graph.channel_groups import ChannelGroup, Slice
from tinyml.importance import Evidence, Need, gather
from tinyml.training.evaluation import NonFiniteError

with_images = pytest.mark.parametrize("needs", ["gradients", "activations"])


def numbers(evidence: Evidence) -> list[torch.Tensor]:
    return [*evidence.squared_effects.values(), *evidence.squared_gradients.values(), *evidence.activations.values()]


def test_squared_gradients_are_the_mean_over_single_images(network: Tiny, group: ChannelGroup, task: Task) -> None:
    squares = []
    for x, y in task.batches(task.calibration_split, 1):
        loss = F.cross_entropy(network(torch.from_numpy(x)), torch.from_numpy(y))
        (gradient,) = torch.autograd.grad(loss, network.head.weight)
        squares.append(gradient.square())
    evidence = gather(network, [group], needs="gradients", task=task, images=16)
    torch.testing.assert_close(evidence.squared_gradients["head.weight"], torch.stack(squares).mean(dim=0))


@with_images
def test_the_network_is_left_as_it_was(network: Tiny, group: ChannelGroup, task: Task, needs: Need) -> None:
    network.train()
    network.norm.eval()
    network.head.weight.requires_grad_(False)
    network.conv.weight.grad = torch.ones_like(network.conv.weight)
    before = {name: value.clone() for name, value in network.state_dict().items()}
    gather(network, [group], needs=needs, task=task, images=16)
    assert (network.training, network.norm.training, network.head.weight.requires_grad) == (True, False, False)
    assert network.conv.weight.grad.eq(1).all()
    assert network.head.weight.grad is None
    assert not any(module._forward_pre_hooks for module in network.modules())
    assert all(torch.equal(value, before[name]) for name, value in network.state_dict().items())


@with_images
def test_the_network_is_left_as_it_was_when_a_run_fails(network: Tiny, group: ChannelGroup, needs: Need) -> None:
    network.head.weight.requires_grad_(False)
    with pytest.raises(RuntimeError, match="channels"):
        gather(network, [group], needs=needs, task=random_task((5, 4, 4)), images=16)
    assert not network.head.weight.requires_grad
    assert not any(module._forward_pre_hooks for module in network.modules())


@with_images
def test_the_same_seed_gives_the_same_evidence_and_another_seed_other_images(
    network: Tiny, group: ChannelGroup, task: Task, needs: Need
) -> None:
    first, again, other = (
        numbers(gather(network, [group], needs=needs, task=task, images=4, seed=seed)) for seed in (1, 1, 2)
    )
    assert all(torch.equal(a, b) for a, b in zip(first, again, strict=True))
    assert not any(torch.equal(a, b) for a, b in zip(first, other, strict=True))


@with_images
def test_what_the_caller_draws_afterwards_does_not_change(
    network: Tiny, group: ChannelGroup, task: Task, needs: Need
) -> None:
    torch.manual_seed(5)
    expected = torch.rand(1)
    torch.manual_seed(5)
    gather(network, [group], needs=needs, task=task, images=4)
    assert torch.equal(torch.rand(1), expected)


def test_evidence_is_taken_also_where_the_caller_takes_no_gradients(
    network: Tiny, group: ChannelGroup, task: Task
) -> None:
    with torch.no_grad():
        evidence = gather(network, [group], needs="gradients", task=task, images=4)
    assert float(evidence.squared_effects["conv"].min()) > 0


def test_two_readers_of_one_channel_are_summed_before_the_square(task: Task) -> None:
    torch.manual_seed(0)
    network = TwoReaders()
    one = torch.arange(3).reshape(3, 1)
    made = Slice(parameter="make.weight", dimension=0, role="output", index=one)
    read = [Slice(parameter=f"{name}.weight", dimension=1, role="input", index=one) for name in ("left", "right")]
    groups = [
        ChannelGroup(name=name, channels=3, slices=(made, *parts))
        for name, parts in (("both", read), ("left", read[:1]), ("right", read[1:]))
    ]
    effects = gather(network, groups, needs="gradients", task=task, images=1).squared_effects
    # One image, and right reads what left reads with the same weights, so both have the same effect e: (2 e)^2 = 4 e^2.
    torch.testing.assert_close(effects["left"], effects["right"])
    torch.testing.assert_close(effects["both"], 4 * effects["left"])


class TwoReaders(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.make = nn.Linear(32, 3)
        self.left, self.right = nn.Linear(3, 10), nn.Linear(3, 10)
        self.right.load_state_dict(self.left.state_dict())

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        made = self.make(x.flatten(1))
        logits: torch.Tensor = self.left(made) + self.right(made)
        return logits


class ByKeyword(TwoReaders):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        made = self.make(input=x.flatten(1))
        logits: torch.Tensor = self.left(input=made) + self.right(input=made)
        return logits


def test_a_layer_that_is_called_by_keyword_is_seen_like_one_called_by_position(task: Task) -> None:
    group = ChannelGroup(
        name="make",
        channels=3,
        slices=(Slice(parameter="left.weight", dimension=1, role="input", index=torch.arange(3).reshape(3, 1)),),
    )
    network = TwoReaders()
    named = ByKeyword()
    named.load_state_dict(network.state_dict())
    expected, found = (
        gather(each, [group], needs="activations", task=task, images=4).activations["left.weight"]
        for each in (network, named)
    )
    assert torch.equal(found, expected)


def test_what_needs_images_is_refused_without_data(network: Tiny, group: ChannelGroup) -> None:
    with pytest.raises(DataError, match=re.escape("looks at gradients needs images, and there are no data")):
        gather(network, [group], needs="gradients")


def test_an_image_without_a_finite_loss_is_an_error(network: Tiny, group: ChannelGroup, task: Task) -> None:
    with torch.no_grad():
        network.head.bias[0] = torch.nan
    with pytest.raises(NonFiniteError, match="the loss of an image of 'noise' is nan"):
        gather(network, [group], needs="gradients", task=task, images=4)
