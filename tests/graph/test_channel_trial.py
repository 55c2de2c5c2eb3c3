from collections.abc import Sequence
from dataclasses import replace

import channel_models as made
import pytest
import torch
import user_models
from exit_networks import with_exits
from torch import nn

from tinyml.graph.channel_groups import ChannelGroup, Slice
from tinyml.graph.channel_search import find_channel_groups
from tinyml.graph.channel_trial import Trial

SINGLE = torch.arange(16).reshape(16, 1)
OUTPUT, BIAS = ("a.weight", 0, "output"), ("a.bias", 0, "bias")
INPUT = ("b.weight", 1, "input")


def group(*parts: tuple[str, int, str], index: torch.Tensor = SINGLE) -> ChannelGroup:
    slices = tuple(Slice(parameter=name, dimension=at, role=role, index=index) for name, at, role in parts)
    return ChannelGroup(name="a", channels=len(index), slices=slices)


def step_of(model: nn.Module, groups: Sequence[ChannelGroup]) -> int:
    return Trial(model, made.IMAGE).of(groups).step


def test_a_whole_group_passes():
    assert step_of(made.plain(), [group(OUTPUT, BIAS, INPUT)]) == 4


@pytest.mark.parametrize("missing", [OUTPUT, BIAS, INPUT], ids=["the rows", "the bias", "the columns"])
def test_a_group_that_lacks_a_part_fails_when_its_channels_are_renamed(missing: tuple[str, int, str]):
    parts = [part for part in (OUTPUT, BIAS, INPUT) if part != missing]
    assert step_of(made.plain(), [group(*parts)]) == 1


def test_a_group_at_wrong_positions_fails_when_its_channels_are_renamed():
    good = group(OUTPUT, BIAS)
    wrong = Slice(parameter="b.weight", dimension=1, role="input", index=SINGLE.roll(1, 0))
    assert step_of(made.plain(), [ChannelGroup(name="a", channels=16, slices=(*good.slices, wrong))]) == 1


def test_a_forward_that_counts_its_channels_fails_when_some_are_gone():
    assert step_of(made.constant_factor(), [group(OUTPUT, BIAS, INPUT, ("slopes.weight", 0, "other"))]) == 2


def test_a_forward_that_mixes_all_channels_computes_something_else():
    assert step_of(made.mean_over_channels(), [group(OUTPUT, BIAS, INPUT)]) == 3


def test_a_trained_weight_of_zero_hides_nothing():
    """With b = 0 every output is a constant, and any cut would seem right."""
    model = made.plain()
    nn.init.zeros_(model.get_submodule("b").weight)
    assert step_of(model, [group(OUTPUT, BIAS)]) == 1


def test_a_model_without_one_tensor_as_output_is_refused():
    with pytest.raises(TypeError, match="returns a dict"):
        Trial(made.several_outputs(), made.IMAGE)


def test_exits_are_outputs_too() -> None:
    """A channel of the stem that only an exit read would go unseen if its logits were not compared."""
    network = with_exits(user_models.inception_like(), made.IMAGE)
    (stem,) = (each for each in find_channel_groups(network, made.IMAGE).groups if each.name == "stem.0")
    assert Trial(network, made.IMAGE).of([stem]).passed
    without_head = replace(stem, slices=tuple(part for part in stem.slices if "exit_heads" not in part.parameter))
    assert not Trial(network, made.IMAGE).of([without_head]).passed
