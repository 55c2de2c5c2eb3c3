import pytest
import torch
from torch import Tensor

from tinyml.numerics import soft_assignment as module
from tinyml.numerics.soft_assignment import COLD, WARM, soft_assignment


def everything(weight: Tensor) -> Tensor:
    return torch.ones_like(weight, dtype=torch.bool)


def by_the_formula(weight: Tensor, centroids: Tensor, temperature: float) -> Tensor:
    """The module docstring for one group, all at once, in double precision."""
    weight, centroids = weight.double(), centroids.double()
    gap = centroids.diff().mean()
    attention = torch.softmax(-((weight[:, None] - centroids) / gap).square() / temperature, dim=1)
    return attention @ (attention.T @ weight / attention.sum(dim=0))


@pytest.mark.parametrize(("share", "temperature"), [(0.0, WARM), (0.5, (WARM * COLD) ** 0.5), (1.0, COLD)])
def test_it_is_the_formula(share: float, temperature: float):
    weight, centroids = torch.randn(1, 50, generator=torch.Generator().manual_seed(0)), torch.tensor([[-1.0, 0, 0.8]])
    found = soft_assignment(weight, centroids, free=everything(weight), share=share)
    torch.testing.assert_close(found[0].double(), by_the_formula(weight[0], centroids[0], temperature))


def test_groups_do_not_see_one_another():
    weight, centroids = (
        torch.randn(2, 30, generator=torch.Generator().manual_seed(0)),
        torch.tensor([[-1.0, 1], [0, 3]]),
    )
    pairs = zip(weight, centroids, strict=True)
    both = soft_assignment(weight, centroids, free=everything(weight), share=0.3)
    alone = [soft_assignment(w[None], c[None], free=everything(w[None]), share=0.3) for w, c in pairs]
    torch.testing.assert_close(both, torch.cat(alone))


def test_pieces_change_neither_values_nor_gradients(monkeypatch: pytest.MonkeyPatch):
    centroids, results = torch.tensor([[-1.0, 0.1, 1.0]]), []
    for piece in (module.PIECE, 7):
        monkeypatch.setattr(module, "PIECE", piece)
        weight = torch.randn(1, 40, generator=torch.Generator().manual_seed(0)).requires_grad_()
        mixed = soft_assignment(weight, centroids, free=everything(weight), share=0.0)
        mixed.square().sum().backward()
        results.append((mixed.detach(), weight.grad))
    torch.testing.assert_close(results[0], results[1])


def test_gradients_are_those_of_finite_differences():
    weight = torch.randn(1, 6, generator=torch.Generator().manual_seed(0), dtype=torch.float64).requires_grad_()
    centroids = torch.tensor([[-0.7, 0.0, 0.9]], dtype=torch.float64)
    assert torch.autograd.gradcheck(lambda w: soft_assignment(w, centroids, free=everything(w), share=0.0), weight)


def test_what_is_not_free_is_zero_and_draws_nothing():
    weight = torch.tensor([[-1.0, 1.0, 100.0]])
    found = soft_assignment(weight, torch.tensor([[-1.0, 1.0]]), free=torch.tensor([[True, True, False]]), share=1.0)
    torch.testing.assert_close(found, torch.tensor([[-1.0, 1.0, 0.0]]))


@pytest.mark.parametrize("centroids", [[[2.0]], [[2.0, 2.0]]], ids=["one", "twice the same"])
def test_centroids_without_a_gap_give_the_mean(centroids: list[list[float]]):
    found = soft_assignment(
        torch.tensor([[1.0, 3.0, 5.0]]), torch.tensor(centroids), free=torch.ones(1, 3).bool(), share=0
    )
    torch.testing.assert_close(found, torch.full((1, 3), 3.0))
