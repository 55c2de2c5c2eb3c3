import numpy as np
import pytest
import torch
from torch import nn

from tinyml.graph.channel_groups import ChannelGroup, Slice
from tinyml.importance import IMPORTANCES, Evidence, gather


def test_the_score_is_the_sum_of_distances_relative_to_each_tensors_mean(
    network: nn.Module, group: ChannelGroup, weights: Evidence
) -> None:
    totals = []
    for name in ("conv.weight", "depthwise.weight"):
        filters = network.get_parameter(name).detach().double().numpy().reshape(3, -1)
        totals.append([np.linalg.norm(filters - one, axis=1).sum() for one in filters])
    expected = np.mean([np.array(total) / np.mean(total) for total in totals], axis=0)
    np.testing.assert_allclose(IMPORTANCES["fpgm"].score(group, weights), expected, rtol=1e-6)


@pytest.mark.parametrize("count", [4, 64])
def test_equal_filters_score_zero_however_large_they_are(count: int) -> None:
    layer = nn.Linear(7, count)
    layer.weight.data = torch.full((count, 7), 1000.1)
    part = Slice(parameter="weight", dimension=0, role="output", index=torch.arange(count).reshape(-1, 1))
    group = ChannelGroup(name="layer", channels=count, slices=(part,))
    assert IMPORTANCES["fpgm"].score(group, gather(layer, [group], needs="nothing")).tolist() == [0.0] * count
