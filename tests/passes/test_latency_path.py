import math
from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import Any

import pytest
import torch
import user_models
from torch import nn

from tinyml.graph.channel_groups import ChannelGroup
from tinyml.graph.channel_search import find_channel_groups
from tinyml.graph.channel_surgery import Cut, without_channels
from tinyml.measure.latency_table import REFERENCE, LatencyTable
from tinyml.measure.layer_shapes import LayerShape, observed_layers
from tinyml.passes.channel_counts import Allotment, Counts
from tinyml.passes.latency_path import CountedLayers, LatencyPath
from tinyml.progress import Silent

IMAGE = (3, 32, 32)


def groups_of(model: nn.Module, shape: tuple[int, ...] = IMAGE) -> Sequence[ChannelGroup]:
    return find_channel_groups(model.eval(), shape).groups


@pytest.mark.parametrize("name", ["mixed", "mobilenetv3_like", "shufflenet_like", "unet_like", "small_vit"])
def test_the_shapes_for_counts_are_those_of_the_network_without_the_channels(name: str):
    model = getattr(user_models, name)()
    groups = groups_of(model)
    counts = {group.name: max(1, group.channels // 2) for group in groups}
    cuts = [Cut(group=group, kept=torch.arange(counts[group.name])) for group in groups]
    expected = [shape for _, shape in observed_layers(without_channels(model, cuts), IMAGE)]
    assert CountedLayers(model, IMAGE, groups).shapes(counts) == expected


def network(*sizes: int) -> nn.Module:
    """Linear layers of these sizes, one after another."""
    return nn.Sequential(*(nn.Linear(a, b) for a, b in pairwise(sizes)))


def path_of(
    model: nn.Module,
    inputs: int,
    *,
    cost: Callable[[LayerShape], float],
    scores: Sequence[Sequence[float]] = (),
    **settings: Any,
) -> LatencyPath:
    groups = groups_of(model, (inputs,))
    given = scores or [[1.0] * group.channels for group in groups]
    allotment = Allotment(
        groups=groups,
        scores={group.name: torch.tensor(each) for group, each in zip(groups, given, strict=True)},
        **{"scope": "uniform", "fixed": {}, "multiple": 1, "minimum": 1, **settings},
    )
    table = LatencyTable(lambda shapes: [1.0 if shape is REFERENCE else cost(shape) for shape in shapes])
    return LatencyPath(CountedLayers(model, (inputs,), groups), allotment, table, Silent())


def area(shape: LayerShape) -> float:
    return float(math.prod(shape.weight))


def blocks(shape: LayerShape) -> float:
    """A runtime that works on blocks of 4 channels."""
    return float(math.prod(-(-size // 4) for size in shape.weight))


def counts(path: LatencyPath, share: float) -> Counts:
    return path.stops[path.reach(share)].counts


def test_the_path_begins_with_every_channel_and_falls_with_every_step():
    path = path_of(network(8, 8, 8, 4), 8, cost=area)
    path.reach(0.0)
    shares = [stop.predicted for stop in path.stops]
    assert shares[0] == 1
    assert shares == sorted(set(shares), reverse=True)
    assert path.stops[-1].counts == {"0": 1, "1": 1}


def test_a_stop_is_predicted_by_the_sum_over_its_layers():
    path = path_of(network(8, 8, 4), 8, cost=area)
    number = path.reach(0.5)
    assert (path.stops[number].counts, path.predicted(number)) == ({"0": 4}, 0.5)  # (8 x 4 + 4 x 4) / 96


def test_what_the_table_says_of_each_layer_is_told():
    path = path_of(network(8, 8, 4), 8, cost=area)
    assert path.layers_ms(path.reach(0.5)) == {"0": (64, 32), "1": (32, 16)}


def test_steps_end_where_the_table_really_falls():
    path = path_of(network(8, 16, 4), 8, cost=blocks)
    path.reach(0.0)
    assert [stop.counts["0"] for stop in path.stops] == [16, 12, 8, 4]


def test_the_group_that_buys_most_time_goes_first():
    path = path_of(network(4, 8, 64, 8, 4), 4, cost=area)
    path.reach(0.9)
    assert path.stops[1].counts["1"] < 64
    assert path.stops[1].counts["0"] == path.stops[1].counts["2"] == 8


def test_important_channels_stay_when_all_cost_the_same():
    path = path_of(network(8, 8, 8, 8), 8, cost=area, scores=[[100.0] * 4 + [1.0] * 4, [100.0] * 8])
    assert counts(path, 0.7) == {"0": 4, "1": 8}  # (4 x 8 + 4 x 8 + 8 x 8) / 192 = 0.667


def test_global_compares_the_scores_of_all_groups():
    scores = [[5.0, 6.0, 7.0, 8.0], [1.0, 2.0, 3.0, 4.0]]
    path = path_of(network(4, 4, 4, 4), 4, cost=area, scores=scores, scope="global")
    assert counts(path, 0.5) == {"0": 4, "1": 1}  # (4 x 4 + 4 x 1 + 1 x 4) / 48 = 0.5


def test_no_group_pays_alone_and_none_is_left_without_channels():
    path = path_of(network(8, 8, 8, 8, 8), 8, cost=area)
    kept = counts(path, 0.4)
    assert max(kept.values()) - min(kept.values()) <= 1


@pytest.mark.parametrize("scores", [[[0.0] * 8], [[-1.0] * 8], [[-3.0, 2.0, 0, 0, 0, 0, 0, 1]]], ids=str)
def test_scores_of_any_sign_are_taken(scores: list[list[float]]):
    assert counts(path_of(network(8, 8, 4), 8, cost=area, scores=scores), 0.5) == {"0": 4}


def test_a_group_with_a_sparsity_of_its_own_has_it_from_the_start():
    path = path_of(network(8, 8, 8, 4), 8, cost=area, fixed={"0": 0.5})
    path.reach(0.0)
    assert {stop.counts["0"] for stop in path.stops} == {4}
    assert path.predicted(0) == (32 + 32 + 32) / 160


def test_wide_groups_go_in_sixteenths():
    path = path_of(network(4, 64, 4), 4, cost=area)
    path.reach(0.0)
    assert [stop.counts["0"] for stop in path.stops] == list(range(64, 0, -4))


def test_counts_are_multiples_where_the_target_wants_them():
    path = path_of(network(4, 24, 4), 4, cost=area, multiple=8)
    path.reach(0.0)
    assert [stop.counts["0"] for stop in path.stops] == [24, 16, 8]


def test_where_fewer_channels_are_not_faster_the_path_ends():
    path = path_of(network(8, 8, 4), 8, cost=lambda _: 1.0)
    assert path.reach(0.5) == 0
