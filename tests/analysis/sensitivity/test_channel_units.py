"""Channels that are zero answer as channels that are cut."""

from collections.abc import Callable

import pytest
import torch
import user_models
from random_task import random_context, trained, uncompressed
from torch import Tensor, nn

from tinyml.analysis.sensitivity.changes import CHANGES
from tinyml.analysis.sensitivity.units import FoundUnits, Patterns, changed
from tinyml.passes.channel_pruning import ChannelPruning
from tinyml.passes.layer_patterns import LayerSparsity


def found(model: nn.Module, shape: tuple[int, ...], **patterns: tuple[str, ...]) -> FoundUnits:
    return CHANGES["channel_pruning"].units(model, shape, Patterns(**patterns))


class Chain(nn.Module):
    def __init__(self, norm: nn.Module) -> None:
        super().__init__()
        self.first, self.norm, self.last = nn.Linear(4, 4), norm, nn.Linear(4, 2)

    def forward(self, x: Tensor) -> Tensor:
        return self.last(torch.sigmoid(self.norm(self.first(x))))


def chain(norm: nn.Module) -> Chain:
    return Chain(norm).eval()


@torch.no_grad()
def test_the_channels_of_the_smallest_norm_are_zero_everywhere() -> None:
    model = chain(nn.Identity())
    model.first.weight.copy_(torch.diag(torch.tensor([1.0, 4, 2, 3])))
    model.last.weight.fill_(1)
    (unit,) = found(model, (4,)).units
    values = unit.values(0.5)
    assert values["first.weight"].diagonal().tolist() == [0, 4, 0, 3]
    assert values["last.weight"].tolist() == [[0, 1, 0, 1]] * 2
    assert (unit.name, unit.size) == ("first", 4)


def test_a_norm_that_counts_channels_is_left_alone() -> None:
    result = found(chain(nn.LayerNorm(4)), (4,))
    assert [item.module for item in result.left_alone if "something counts them" in item.reason] == ["first"]


def test_one_channel_stays_at_the_least() -> None:
    (unit,) = found(chain(nn.Identity()), (4,)).units
    assert int(unit.values(0.99)["first.bias"].count_nonzero()) == 1


def test_an_excluded_layer_is_listed_and_not_scanned() -> None:
    result = found(chain(nn.Identity()), (4,), exclude=("first",))
    assert result.units == ()
    assert ("first", "in the recipe's exclude") in [(item.module, item.reason) for item in result.left_alone]


@pytest.mark.parametrize("factory", [user_models.mixed, user_models.densenet_like, user_models.mobilenetv3_like])
@torch.no_grad()
def test_answers_are_those_of_the_network_that_the_pass_cuts(factory: Callable[[], nn.Module]) -> None:
    torch.manual_seed(0)
    model, inputs = trained(factory()), torch.randn(4, 3, 32, 32)
    units = found(model, (3, 32, 32)).units
    for unit in (units[0], units[-1]):
        settings = ChannelPruning(sparsity=0, round_to=1, layers={unit.name: LayerSparsity(sparsity=0.5)})
        cut = settings.apply(uncompressed(model, (3, 32, 32)), random_context((3, 32, 32))).module
        with changed(model, unit.values(0.5)):
            # float32 sums of other lengths: some 1e-6 of the largest output, times the layers behind
            assert torch.allclose(model(inputs), cut(inputs), rtol=0, atol=1e-4 * float(cut(inputs).abs().max()))
