import torch
from torch import nn

from tinyml.graph.channel_groups import ChannelGroup, Slice
from tinyml.importance import IMPORTANCES, gather


def test_the_score_is_the_size_of_gamma(network: nn.Module, group: ChannelGroup) -> None:
    network.get_parameter("norm.weight").data = torch.tensor([0.5, -2.0, 0.0])
    evidence = gather(network, [group], needs="nothing")
    assert IMPORTANCES["batchnorm_scale"].score(group, evidence).tolist() == [0.5, 2.0, 0.0]


def test_two_normalizations_and_two_positions_of_a_channel_are_averaged() -> None:
    norms = nn.ModuleDict({"a": nn.BatchNorm2d(4), "b": nn.BatchNorm2d(4)})
    norms.get_parameter("a.weight").data = torch.tensor([1.0, 2.0, 3.0, 4.0])
    norms.get_parameter("b.weight").data = torch.tensor([0.0, 0.0, 10.0, 10.0])
    index = torch.tensor([[0, 2], [1, 3]])
    parts = [Slice(parameter=f"{name}.weight", dimension=0, role="norm", index=index) for name in norms]
    group = ChannelGroup(name="conv", channels=2, slices=tuple(parts))
    evidence = gather(norms, [group], needs="nothing")
    assert IMPORTANCES["batchnorm_scale"].score(group, evidence).tolist() == [3.5, 4.0]
