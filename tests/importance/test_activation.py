import torch
from tiny_group import Tiny
from torch import nn

from tinyml.data import Task
from tinyml.graph.channel_groups import ChannelGroup, Slice
from tinyml.importance import IMPORTANCES, gather


def test_the_score_is_the_mean_size_of_what_the_reader_gets_relative_to_the_other_channels(
    network: Tiny, group: ChannelGroup, task: Task
) -> None:
    with torch.no_grad():
        read = network.read(torch.from_numpy(task.inputs(task.calibration_split.x)))
    means = read.abs().mean(dim=(0, 2, 3))
    evidence = gather(network, [group], needs="activations", task=task, images=16)
    torch.testing.assert_close(IMPORTANCES["activation"].score(group, evidence), means / means.mean())


def test_a_unit_read_by_a_grouped_convolution_is_its_place_in_every_group(task: Task) -> None:
    torch.manual_seed(0)
    make, read = nn.Conv2d(2, 6, 1), nn.Conv2d(6, 10, 4, groups=2)
    network = nn.Sequential(make, read, nn.Flatten())
    places = torch.tensor([[0, 3], [1, 4], [2, 5]])
    parts = (
        Slice(parameter="0.weight", dimension=0, role="output", index=places),
        Slice(parameter="1.weight", dimension=1, role="input", index=torch.arange(3).reshape(3, 1)),
    )
    group = ChannelGroup(name="0", channels=3, width=2, slices=parts)
    evidence = gather(network, [group], needs="activations", task=task, images=16)
    with torch.no_grad():
        sizes = (
            make(torch.from_numpy(task.inputs(task.calibration_split.x))).abs().mean(dim=(0, 2, 3))[places].mean(dim=1)
        )
    torch.testing.assert_close(IMPORTANCES["activation"].score(group, evidence), sizes / sizes.mean())
