import numpy as np
from torch import nn

from tinyml.graph.channel_groups import ChannelGroup
from tinyml.importance import IMPORTANCES, Evidence


def test_the_norm_is_that_of_the_columns_that_read_the_channel(
    network: nn.Module, group: ChannelGroup, weights: Evidence
) -> None:
    head = network.get_parameter("head.weight").detach().numpy()
    norms = np.array([np.linalg.norm(head[:, 4 * c : 4 * c + 4]) for c in range(3)])
    np.testing.assert_allclose(IMPORTANCES["next_layer"].score(group, weights), norms / norms.mean(), rtol=1e-6)
