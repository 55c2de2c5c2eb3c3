import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from tinyml.numerics.clustering_exact import optimal_runs

members = st.lists(st.tuples(st.integers(-50, 50), st.sampled_from([0, 1, 1, 3])), min_size=1, max_size=30)


def prefix(terms: list[float]) -> Tensor:
    return torch.tensor([[0.0, *np.cumsum(terms)]], dtype=torch.float64)


def sums(pairs: list[tuple[int, int]]) -> tuple[Tensor, Tensor]:
    pairs = sorted(pairs)
    return prefix([mass for _, mass in pairs]), prefix([value * mass for value, mass in pairs])


def gain(mass: Tensor, moment: Tensor, first: int, last: int) -> float:
    weight = float(mass[0, last] - mass[0, first])
    return float(moment[0, last] - moment[0, first]) ** 2 / weight if weight else 0.0


def greatest_gain(mass: Tensor, moment: Tensor, clusters: int) -> float:
    """The plain recursion: every layer tries every origin of every position."""
    positions = range(mass.shape[1])
    best = [gain(mass, moment, 0, last) for last in positions]
    for _ in range(clusters - 1):
        best = [max(best[i] + gain(mass, moment, i, last) for i in range(last + 1)) for last in positions]
    return best[-1]


@given(pairs=members, clusters=st.integers(1, 8))
def test_the_runs_gain_what_the_plain_recursion_gains(pairs: list[tuple[int, int]], clusters: int):
    mass, moment = sums(pairs)
    (runs,) = optimal_runs(mass, moment, clusters).tolist()
    reached = sum(gain(mass, moment, runs[j], runs[j + 1]) for j in range(clusters))
    assert reached == pytest.approx(greatest_gain(mass, moment, clusters), rel=1e-12)


@given(pairs=members, clusters=st.integers(1, 8))
def test_the_runs_part_all_members_in_order(pairs: list[tuple[int, int]], clusters: int):
    (runs,) = optimal_runs(*sums(pairs), clusters).tolist()
    assert runs == sorted(runs)
    assert (runs[0], runs[-1], len(runs)) == (0, len(pairs), clusters + 1)


def test_groups_are_solved_side_by_side():
    rows = torch.randn(3, 100, generator=torch.Generator().manual_seed(0), dtype=torch.float64).sort(dim=1).values
    mass = torch.arange(101, dtype=torch.float64).expand(3, -1)
    moment = torch.nn.functional.pad(rows.cumsum(dim=1), (1, 0))
    alone = [optimal_runs(mass[row : row + 1], moment[row : row + 1], 7) for row in range(3)]
    assert torch.equal(optimal_runs(mass, moment, 7), torch.cat(alone))
