"""Where the centroids of a one-dimensional k-means start.

    density    centroid_j at share (j + 1/2) / k of the cumulative cube root of the density, where the best quantizer of
               many levels has them (Panter and Dite 1951, "Quantization distortion in pulse-count modulation with
               nonuniform spacing of levels"). A bin of mass m and width d holds m^(1/3) d^(2/3) of it, but never more
               centroids than members, so that an outlier takes one
    linear     evenly from the least to the greatest weight (Han et al. 2016, section 3.2)
    kmeans++   drawn one by one, a weight's chance being proportional to its squared distance from those drawn before
               (Arthur and Vassilvitskii 2007), among at most 4,096 quantiles
    optimal    the least inertia of all, by the dynamic program, among at most 8,192 quantiles; by density where many
               groups with many centroids leave fewer than two quantiles a centroid

Quantiles are dense at both ends.
"""

from typing import Literal

import torch
from torch import Tensor

from tinyml.numerics.clustering_exact import optimal_runs
from tinyml.numerics.sorted_weights import SortedWeights, quantile_edges

Start = Literal["density", "linear", "kmeans++", "optimal"]

CUTS = 50
QUANTILES = 4096
OPTIMAL_QUANTILES = 8192
OPTIMAL_STEPS = 2**21
"""Most groups * centroids * quantiles of the dynamic program: half a second."""


def starting_codebook(ordered: SortedWeights, centroids: int, start: Start, seed: int) -> Tensor:
    """Return (groups, k) float32, ascending."""
    if start == "linear":
        codebook = _linear(ordered, centroids)
    elif start == "kmeans++":
        codebook = _drawn(ordered, centroids, seed)
    elif start == "optimal":
        codebook = _optimal(ordered, centroids)
    else:
        codebook = _by_density(ordered, centroids)
    return codebook.float().sort(dim=1).values


def _linear(ordered: SortedWeights, centroids: int) -> Tensor:
    """Return centroids from the least to the greatest weight at equal distances."""
    low, high = ordered.values[:, :1].double(), ordered.values[:, -1:].double()
    return low + (high - low) * torch.linspace(0.0, 1.0, centroids, dtype=torch.float64)


def _by_density(ordered: SortedWeights, centroids: int) -> Tensor:
    """Return centroids at equal shares of the cumulative cube root of the density."""
    edges = quantile_edges(ordered.values.shape[1], QUANTILES)
    corners = ordered.values[:, edges.clamp(max=ordered.values.shape[1] - 1)].double()
    share = ordered.mass[:, edges].diff().pow(1 / 3) * corners.diff().pow(2 / 3)
    share = _affordable(share, edges.diff(), centroids)
    reached = torch.nn.functional.pad(share.cumsum(dim=1), (1, 0))
    wanted = reached[:, -1:] * (torch.arange(centroids, dtype=torch.float64) + 0.5) / centroids
    bins = (torch.searchsorted(reached, wanted) - 1).clamp(min=0)
    within = (wanted - reached.gather(1, bins)) / share.gather(1, bins).clamp(min=torch.finfo(torch.float64).tiny)
    return corners.gather(1, bins) + within * corners.diff().gather(1, bins)


def _affordable(share: Tensor, members: Tensor, centroids: int) -> Tensor:
    """Return the shares (groups, bins) cut until none asks for more centroids than its bin has members (bins,)."""
    total = share.sum(dim=1, keepdim=True)
    for _ in range(CUTS):
        share = torch.minimum(share, members * total / centroids)
        before, total = total, share.sum(dim=1, keepdim=True)
        if bool((total >= 0.99 * before).all()):
            break
    return share


def _drawn(ordered: SortedWeights, centroids: int, seed: int) -> Tensor:
    """Return centroids drawn by squared distance from those before, the same for the same seed."""
    generator = torch.Generator().manual_seed(seed)
    edges = quantile_edges(ordered.values.shape[1], QUANTILES)
    mass = ordered.mass[:, edges].diff()
    candidates = ordered.values[:, (edges[:-1] + edges[1:]) // 2].double()
    distance = torch.full_like(candidates, torch.inf)
    drawn = torch.zeros(candidates.shape[0], 0, dtype=torch.float64)
    for _ in range(centroids):
        chance = mass * torch.where(distance == torch.inf, 1.0, distance)
        reached = chance.cumsum(dim=1)
        ticket = torch.rand(reached.shape[0], 1, generator=generator, dtype=torch.float64) * reached[:, -1:]
        index = torch.searchsorted(reached, ticket, right=True).clamp(max=candidates.shape[1] - 1)
        centroid = candidates.gather(1, index)
        drawn = torch.cat([drawn, centroid], dim=1)
        distance = torch.minimum(distance, (candidates - centroid).square())
    return drawn


def _optimal(ordered: SortedWeights, centroids: int) -> Tensor:
    """Return the means of the best runs of quantiles, or of members where there are few enough of them."""
    affordable = OPTIMAL_STEPS // (ordered.values.shape[0] * centroids)
    if affordable < min(2 * centroids, ordered.values.shape[1]):
        return _by_density(ordered, centroids)
    edges = quantile_edges(ordered.values.shape[1], min(OPTIMAL_QUANTILES, affordable))
    mass, moment = ordered.mass[:, edges], ordered.moment[:, edges]
    runs = optimal_runs(mass, moment, centroids)
    run_mass, run_moment = mass.gather(1, runs).diff(), moment.gather(1, runs).diff()
    return ordered.centre + run_moment / run_mass.clamp(min=torch.finfo(torch.float64).tiny)
