"""The tiny network and its group, for every criterion."""

import pytest
import torch
from random_task import random_task, trained
from tiny_group import Tiny, tiny_group

from tinyml.data import Task
from tinyml.graph.channel_groups import ChannelGroup
from tinyml.importance import Evidence, gather


@pytest.fixture
def network() -> Tiny:
    torch.manual_seed(0)
    network = Tiny()
    trained(network)
    return network


@pytest.fixture
def group() -> ChannelGroup:
    return tiny_group()


@pytest.fixture
def task() -> Task:
    return random_task((2, 4, 4), images=16)


@pytest.fixture
def weights(network: Tiny, group: ChannelGroup) -> Evidence:
    """What the weights alone tell."""
    return gather(network, [group], needs="nothing")
