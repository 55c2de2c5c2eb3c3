import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from tinyml.graph.channel_groups import ChannelGroup
from tinyml.importance import IMPORTANCES, Evidence
from tinyml.importance.lamp import shares_of_stronger


@pytest.mark.parametrize(
    ("energies", "shares"),
    [
        pytest.param([4.0, 1.0, 3.0], [1.0, 1 / 8, 3 / 7], id="as in the paper"),
        pytest.param([2.0, 2.0], [0.5, 1.0], id="of equal ones the later scores higher"),
        pytest.param([0.0, 5.0, 0.0], [0.0, 1.0, 0.0], id="zeros score zero"),
        pytest.param([0.0, 0.0], [0.0, 0.0], id="nothing but zeros"),
    ],
)
def test_an_energy_is_taken_as_its_share_of_those_at_least_as_large(energies: list[float], shares: list[float]) -> None:
    torch.testing.assert_close(shares_of_stronger(torch.tensor(energies)), torch.tensor(shares))


@given(st.lists(st.integers(1, 1000), min_size=1, max_size=20))
def test_the_order_of_energies_is_kept_and_the_strongest_scores_one(energies: list[int]) -> None:
    shares = shares_of_stronger(torch.tensor(energies, dtype=torch.float64))
    assert shares.max() == 1
    assert torch.equal(shares.argsort(stable=True), torch.tensor(energies).argsort(stable=True))


def test_the_energies_are_squared_norms_relative_to_each_tensors_mean(
    network: nn.Module, group: ChannelGroup, weights: Evidence
) -> None:
    named = {key: parameter.detach().numpy() for key, parameter in network.named_parameters()}
    energies = [np.square(named[f"{layer}.weight"]).reshape(3, -1).sum(axis=1) for layer in ("conv", "depthwise")]
    energies.append(np.square(named["head.weight"]).sum(axis=0).reshape(3, 4).sum(axis=1))
    energy = np.mean([each / each.mean() for each in energies], axis=0)
    expected = [one / energy[energy >= one].sum() for one in energy]
    np.testing.assert_allclose(IMPORTANCES["lamp"].score(group, weights), expected, rtol=1e-6)
