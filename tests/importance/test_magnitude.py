import numpy as np
import pytest
from torch import nn

from tinyml.graph.channel_groups import ChannelGroup
from tinyml.importance import IMPORTANCES, Evidence, Importance


@pytest.mark.parametrize(("name", "order"), [("l1", 1), ("l2", 2)])
def test_the_norm_is_the_mean_over_the_tensors_relative_to_each_tensors_mean(
    network: nn.Module, group: ChannelGroup, weights: Evidence, name: Importance, order: int
) -> None:
    named = {key: parameter.detach().numpy() for key, parameter in network.named_parameters()}
    head = named["head.weight"]  # columns 4c to 4c + 3 read channel c
    tensors = [[named[f"{layer}.weight"][c] for c in range(3)] for layer in ("conv", "depthwise")]
    tensors.append([head[:, 4 * c : 4 * c + 4] for c in range(3)])
    norms = np.array([[np.linalg.norm(np.ravel(values), order) for values in tensor] for tensor in tensors])
    expected = (norms / norms.mean(axis=1, keepdims=True)).mean(axis=0)
    np.testing.assert_allclose(IMPORTANCES[name].score(group, weights), expected, rtol=1e-6)
