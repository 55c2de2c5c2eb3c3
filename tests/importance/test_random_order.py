import torch
from torch import nn

from tinyml.graph.channel_groups import ChannelGroup
from tinyml.importance import IMPORTANCES, Evidence


def test_the_draw_depends_on_the_seed_and_the_name_alone(network: nn.Module) -> None:
    def draw(name: str, seed: int) -> list[float]:
        group = ChannelGroup(name=name, channels=1000, slices=())
        evidence = Evidence(seed=seed, weights={})
        return IMPORTANCES["random"].formula((), group, evidence).tolist()

    draws = [draw("a", 0), draw("b", 0), draw("a", 1)]
    assert draws[0] == draw("a", 0)
    assert len({tuple(each) for each in draws}) == 3


def test_the_scores_are_uniform_from_zero_to_one() -> None:
    group = ChannelGroup(name="a", channels=10_000, slices=())
    scores = IMPORTANCES["random"].formula((), group, Evidence(seed=0, weights={}))
    counts = torch.histc(scores, bins=10, min=0, max=1)
    # A bin's count has the mean 1000 and the standard deviation sqrt(10000 x 0.1 x 0.9) = 30.
    assert counts.sum() == 10_000
    assert (counts - 1000).abs().max() < 4 * 30
