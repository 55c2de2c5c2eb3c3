import time
from itertools import pairwise
from typing import get_args

import pytest
import torch
from torch import nn

from tinyml.data import Task
from tinyml.graph.channel_groups import ChannelGroup, Slice
from tinyml.importance import IMPORTANCES, Criterion, Importance, gather
from tinyml.models import MODELS
from tinyml.training.evaluation import NonFiniteError

every_criterion = pytest.mark.parametrize("criterion", IMPORTANCES.values(), ids=IMPORTANCES)


def score(network: nn.Module, group: ChannelGroup, task: Task, criterion: Criterion) -> torch.Tensor:
    evidence = gather(network, [group], needs=criterion.needs, task=task, images=16)
    return criterion.score(group, evidence)


def test_every_name_that_a_recipe_may_use_is_in_the_table() -> None:
    assert get_args(Importance) == tuple(IMPORTANCES)


@every_criterion
def test_a_score_is_one_float_a_channel_and_the_same_every_time(
    network: nn.Module, group: ChannelGroup, task: Task, criterion: Criterion
) -> None:
    first = score(network, group, task, criterion)
    assert (first.dtype, first.shape) == (torch.float32, (3,))
    assert len(set(first.tolist())) == 3
    assert torch.equal(first, score(network, group, task, criterion))


@every_criterion
def test_the_scores_follow_the_channels_when_their_order_changes(
    network: nn.Module, group: ChannelGroup, task: Task, criterion: Criterion
) -> None:
    order = torch.tensor([2, 0, 1])
    slices = [
        Slice(parameter=part.parameter, dimension=part.dimension, role=part.role, index=part.index[order])
        for part in group.slices
    ]
    reordered = ChannelGroup(name=group.name, channels=3, slices=tuple(slices))
    expected = score(network, group, task, criterion)
    if criterion is not IMPORTANCES["random"]:
        expected = expected[order]
    torch.testing.assert_close(score(network, reordered, task, criterion), expected)


@pytest.mark.parametrize("name", ["l1", "l2", "next_layer", "fpgm", "lamp"])
def test_the_scale_of_a_layer_does_not_matter(
    network: nn.Module, group: ChannelGroup, task: Task, name: Importance
) -> None:
    before = score(network, group, task, IMPORTANCES[name])
    with torch.no_grad():
        network.get_parameter("head.weight").mul_(8)
        network.get_parameter("conv.weight").mul_(0.25)
    assert torch.equal(score(network, group, task, IMPORTANCES[name]), before)


@pytest.mark.parametrize("name", sorted(set(IMPORTANCES) - {"random", "batchnorm_scale", "fpgm"}))
def test_a_channel_without_weights_scores_lowest(
    network: nn.Module, group: ChannelGroup, task: Task, name: Importance
) -> None:
    with torch.no_grad():
        for parameter in (parameter for key, parameter in network.named_parameters() if not key.startswith("head")):
            parameter[1] = 0
        network.get_parameter("head.weight")[:, 4:8] = 0
    scores = score(network, group, task, IMPORTANCES[name])
    assert scores[1] == 0
    assert scores[[0, 2]].min() > 0


@pytest.mark.parametrize(
    ("name", "lacking"),
    [
        ("batchnorm_scale", "it has no normalization with a scale for each channel"),
        ("next_layer", "it has no weights that read its channels"),
        ("activation", "it has no layer that reads its channels and is called by the network"),
    ],
)
def test_a_group_that_cannot_be_scored_is_said_with_the_reason(
    network: nn.Module, group: ChannelGroup, name: Importance, lacking: str
) -> None:
    criterion = IMPORTANCES[name]
    bare = ChannelGroup(name="conv", channels=3, slices=group.slices[:1])
    assert criterion.fault(bare, gather(network, [bare], needs="nothing")) == lacking
    if criterion.needs == "nothing":
        assert criterion.fault(group, gather(network, [group], needs="nothing")) == ""


def test_a_weight_that_is_not_a_number_is_refused_by_the_name_of_its_group(
    network: nn.Module, group: ChannelGroup
) -> None:
    with torch.no_grad():
        network.get_parameter("conv.weight")[1, 0, 0, 0] = torch.nan
    with pytest.raises(NonFiniteError, match="3 of the 3 channels of conv have an importance of NaN or infinity"):
        IMPORTANCES["l2"].score(group, gather(network, [group], needs="nothing"))


@pytest.mark.slow
def test_the_channels_of_a_vgg_are_scored_by_every_criterion_without_data_in_seconds() -> None:
    network = MODELS["vgg-cifar"].factory()
    names = [name for name, parameter in network.named_parameters() if parameter.ndim > 1]
    groups = [chain_group(network, *pair) for pair in pairwise(names)]
    evidence = gather(network, groups, needs="nothing")
    start = time.process_time()
    for criterion in (IMPORTANCES[name] for name in ("l1", "l2", "next_layer", "fpgm", "lamp")):
        for group in groups:
            criterion.score(group, evidence)
    assert time.process_time() - start < 5  # about 1 s on one core; a loop over channels takes minutes


def chain_group(network: nn.Module, making: str, reading: str) -> ChannelGroup:
    channels = len(network.get_parameter(making))
    one = torch.arange(channels).reshape(channels, 1)
    made = Slice(parameter=making, dimension=0, role="output", index=one)
    read = Slice(parameter=reading, dimension=1, role="input", index=one)
    return ChannelGroup(name=making, channels=channels, slices=(made, read))
