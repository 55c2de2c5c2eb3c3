import copy

import numpy as np
import pytest
import torch
import user_models
from random_task import trained

from tinyml.graph.channel_groups import Slice
from tinyml.graph.channel_search import find_channel_groups
from tinyml.graph.channel_surgery import Cut, without_channels
from tinyml.importance import gather
from tinyml.importance.slices import channel_rows, channel_sums, consumers, mean_relative, position_sums, relative

WEIGHT = torch.arange(24.0).reshape(2, 3, 4)


def part(*rows: list[int]) -> Slice:
    return Slice(parameter="weight", dimension=2, role="input", index=torch.tensor(rows))


@pytest.mark.parametrize("dimension", [0, 1, 2])
def test_positions_are_summed_over_all_other_dimensions(dimension: int) -> None:
    expected = [np.take(WEIGHT.numpy(), i, axis=dimension).sum() for i in range(WEIGHT.shape[dimension])]
    assert position_sums(WEIGHT, dimension).tolist() == expected


def test_a_vector_is_its_own_sums() -> None:
    assert position_sums(torch.tensor([1.0, 2.0]), 0).tolist() == [1.0, 2.0]


def test_a_channel_gets_the_sum_of_its_positions_only() -> None:
    assert channel_sums(torch.tensor([1.0, 10.0, 100.0, 1000.0]), part([3, 0], [1, 1])).tolist() == [1001.0, 20.0]


def test_a_channel_gets_the_values_of_its_positions() -> None:
    rows = channel_rows(WEIGHT, part([3], [0]))
    assert rows.tolist() == [[3, 7, 11, 15, 19, 23], [0, 4, 8, 12, 16, 20]]


def test_relative_scores_have_mean_one_and_zeros_stay() -> None:
    assert relative(torch.tensor([1.0, 3.0])).tolist() == [0.5, 1.5]
    assert relative(torch.zeros(2)).tolist() == [0.0, 0.0]


def test_every_slice_counts_alike() -> None:
    scores = {"small": torch.tensor([1.0, 3.0]), "large": torch.tensor([300.0, 100.0])}
    parts = [Slice(parameter=name, dimension=0, role="output", index=torch.tensor([[0], [1]])) for name in scores]
    assert mean_relative(parts, lambda one: scores[one.parameter]).tolist() == [1.0, 1.0]


@pytest.mark.parametrize("name", ["mixed", "densenet_like", "mobilenetv3_like", "unet_like", "inception_like"])
def test_zeros_in_what_reads_a_channel_do_what_cutting_it_does(name: str) -> None:
    torch.manual_seed(0)
    network = trained(getattr(user_models, name)())
    groups = find_channel_groups(network, (3, 32, 32)).groups
    evidence = gather(network, groups, needs="nothing")
    inputs = torch.randn(2, 3, 32, 32)
    assert groups
    with torch.no_grad():
        for group in groups:
            cut = without_channels(network, [Cut(group=group, kept=torch.arange(1, group.channels))])
            silenced = copy.deepcopy(network)
            for one in consumers(group, evidence):
                silenced.get_parameter(one.parameter).index_fill_(one.dimension, one.index[0], 0.0)
            scale = float(network(inputs).abs().max())
            assert float((silenced(inputs) - cut(inputs)).abs().max()) <= 1e-5 * scale  # sums in another order
