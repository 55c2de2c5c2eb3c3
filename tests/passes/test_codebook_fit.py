import pytest
import torch
from torch import nn

from tinyml.layers.mask import attach_mask
from tinyml.numerics.clustering import cluster
from tinyml.passes.codebook_fit import fit_codebook, run_count
from tinyml.passes.weight_layers import WeightLayer, weight_layers


def layer(module: nn.Module, weight: torch.Tensor | None = None, *, zeros: int = 0) -> WeightLayer:
    if weight is not None:
        module.weight.data = weight
    if zeros:
        attach_mask(module, structure="unstructured", ramp=0.0).aim(module.weight.detach(), start=0, zeros=zeros)
    return weight_layers(nn.Sequential(module), include=("*",), exclude=())[0]["0"]


@pytest.mark.parametrize(
    ("module", "asked", "runs"),
    [
        (nn.Linear(3, 12), None, 1),
        (nn.Linear(3, 12), 4, 3),
        (nn.Linear(3, 12), 5, 3),
        (nn.Linear(3, 7), 4, 7),
        (nn.Linear(3, 7), 100, 1),
        (nn.Conv2d(4, 12, 3, groups=4), 1, 12),
        (nn.ConvTranspose2d(4, 12, 3), 4, 1),
    ],
    ids=["whole", "divides", "the next that divides", "a prime", "more than there are", "depthwise", "transposed"],
)
def test_runs_have_the_most_channels_that_divide_and_are_not_too_many(module: nn.Module, asked: int | None, runs: int):
    assert run_count(layer(module), asked) == runs


@pytest.mark.parametrize("bits", [1, 2, 4])
def test_without_a_mask_it_is_plain_k_means(bits: int):
    weight = torch.randn(8, 50, generator=torch.Generator().manual_seed(0))
    fitted, expected = (
        fit_codebook(layer(nn.Linear(50, 8), weight), bits=bits, groups=2),
        cluster(weight, 2**bits, groups=2, start="optimal"),
    )
    assert torch.equal(fitted.centroids, expected.codebook)
    assert torch.equal(fitted.indices, expected.labels)
    assert not fitted.keeps_zeros


def test_behind_a_mask_one_codebook_is_plain_k_means_of_the_other_weights():
    weight = torch.randn(8, 50, generator=torch.Generator().manual_seed(0))
    kept = weight.abs() > 1.0
    whole = WeightLayer(weight=weight, channels=8, input_axis=1, kept=kept)
    fitted = fit_codebook(whole, bits=3, groups=1)
    expected = cluster(weight[kept], 7, start="optimal")
    assert torch.equal(fitted.centroids, expected.codebook)
    assert torch.equal(fitted.indices[kept], expected.labels + 1)
    assert int(fitted.indices[~kept].count_nonzero()) == 0


def test_what_a_mask_has_zeroed_draws_no_centroid():
    """The smallest two of six weights are zero: of two bits one value is theirs, three are left for 3, -3, 5 and 6."""
    weight = torch.tensor([[0.5, 3.0, -3.0], [5.0, 6.0, 1.0]])
    fitted = fit_codebook(layer(nn.Linear(3, 2), weight, zeros=2), bits=2, groups=1)
    torch.testing.assert_close(fitted.centroids, torch.tensor([[-3.0, 3.0, 5.5]]), atol=1e-4, rtol=0)
    assert fitted.indices.tolist() == [[0, 2, 1], [3, 3, 0]]
    torch.testing.assert_close(fitted.values, torch.tensor([[0, 3, -3], [5.5, 5.5, 0]]), atol=1e-4, rtol=0)


def test_a_run_that_is_masked_all_over_has_only_zeros():
    weight = torch.tensor([[0.1, 0.2, 0.3], [4.0, 5.0, 6.0]])
    fitted = fit_codebook(layer(nn.Linear(3, 2), weight, zeros=3), bits=2, groups=2)
    assert fitted.values.tolist() == [[0, 0, 0], [4, 5, 6]]


@pytest.mark.parametrize(
    ("weight", "centroids"),
    [([[2.0] * 4] * 2, [[2.0]]), ([[0.0] * 4] * 2, [[0.0]]), ([[1.0, 7, 1, 7], [4, 1, 1, 7]], [[1.0, 4, 7]])],
    ids=["constant", "all zero", "three values"],
)
def test_fewer_values_than_centroids_give_fewer_centroids(weight: list[list[float]], centroids: list[list[float]]):
    fitted = fit_codebook(layer(nn.Linear(4, 2), torch.tensor(weight)), bits=4, groups=1)
    assert fitted.centroids.tolist() == centroids
    assert fitted.fewest == len(centroids[0])
    assert fitted.values.tolist() == weight


def test_importance_draws_the_centroids():
    weight, importance = torch.tensor([[0.0, 1.0, 10.0, 12.0]]), torch.tensor([[1.0, 1.0, 1.0, 3.0]])
    fitted = fit_codebook(layer(nn.Linear(4, 1), weight), bits=1, groups=1, importance=importance)
    torch.testing.assert_close(fitted.centroids, torch.tensor([[0.5, 11.5]]))
