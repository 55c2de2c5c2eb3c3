"""Time and inertia of one-dimensional k-means beside fast-pytorch-kmeans, and the exact optimum of kmeans1d.

The weights are normal, of a 512x512x3x3 layer, with three deviations, because the peer stops at an absolute tolerance
(1e-4 of squared movement, summed): with a deviation of 1 it iterates; with that of an initialised layer, sqrt(2 / 4608)
(He et al. 2015), it stops at once, far from converged. Both run with their default settings on the same threads and
return labels; ours runs before and after the peer. Counted is the time of the process on its cores (other work on the
machine does not count) and by the clock.

    pip install fast-pytorch-kmeans kmeans1d psutil
    python benchmarks/kmeans_speed.py [--threads 1]

At 8 bits the peer takes about 8 GB and many seconds an iteration; a deviation of 1, which takes it 100, is left out.
"""

import argparse
import json
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass

from record import record

import torch  # isort: skip  # record sets how its idle threads wait

import kmeans1d
from fast_pytorch_kmeans import KMeans
from torch import Tensor

from tinyml.numerics.clustering import cluster, decode, nearest

WEIGHTS = 512 * 512 * 3 * 3
HE = (2.0 / (512 * 3 * 3)) ** 0.5
CASES = ((4, 1.0), (4, 0.1), (4, HE), (8, 0.1), (8, HE))
"""Bits and deviation of the weights."""
OUR_RUNS = 5
MOST_EXACT_BITS = 4


Method = Callable[[Tensor, int], tuple[Tensor, Tensor]]


@dataclass(frozen=True, kw_only=True)
class Row:
    """What one method did once."""

    method: str
    bits: int
    deviation: float
    core_seconds: float
    wall_seconds: float
    inertia: float


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--threads", type=int, default=1)
    arguments = parser.parse_args()

    torch.set_num_threads(arguments.threads)
    weight = torch.randn(WEIGHTS, generator=torch.Generator().manual_seed(0))
    ours(weight[:1000], 2)  # what is done once in a process
    runs = [compare(weight * deviation, bits, deviation) for bits, deviation in CASES]
    summaries = [summary(rows) for rows in runs]
    facts = {"weights": WEIGHTS, "threads": arguments.threads, "summary": summaries}
    record("kmeans_speed", {**facts, "runs": [asdict(row) for rows in runs for row in rows]})
    print(json.dumps(summaries, indent=1))


def compare(weight: Tensor, bits: int, deviation: float) -> list[Row]:
    """Return what each method does with the weights, in the order of their turns."""
    plan = [("tinyml", ours)] * OUR_RUNS + [("fast-pytorch-kmeans", peer)] + [("tinyml", ours)] * OUR_RUNS
    if bits <= MOST_EXACT_BITS:
        plan.append(("kmeans1d", exact))
    print(f"{bits} bits, deviation {deviation:.4f}")
    return [timed(method, work, weight, bits, deviation) for method, work in plan]


def timed(method: str, work: Method, weight: Tensor, bits: int, deviation: float) -> Row:
    """Return time and inertia of one method, and print them; the inertia is computed alike for all, in float64."""
    core, wall = time.process_time(), time.perf_counter()
    labels, codebook = work(weight, bits)
    core, wall = time.process_time() - core, time.perf_counter() - wall
    inertia = float((decode(labels, codebook).double() - weight.double()).square().sum())
    print(f"  {method:20} {core:9.3f} s core {wall:9.3f} s wall  inertia {inertia:.6g}", flush=True)
    return Row(method=method, bits=bits, deviation=deviation, core_seconds=core, wall_seconds=wall, inertia=inertia)


def ours(weight: Tensor, bits: int) -> tuple[Tensor, Tensor]:
    """Return labels and codebook (1, k) of tinyml."""
    found = cluster(weight, 2**bits)
    return found.labels, found.codebook


def peer(weight: Tensor, bits: int) -> tuple[Tensor, Tensor]:
    """Return labels and codebook (1, k) of fast-pytorch-kmeans, which starts from weights drawn at random."""
    torch.manual_seed(0)
    method = KMeans(n_clusters=2**bits)
    labels = method.fit_predict(weight[:, None])
    return labels, method.centroids.reshape(1, -1)


def exact(weight: Tensor, bits: int) -> tuple[Tensor, Tensor]:
    """Return labels and codebook (1, k) of least inertia: the dynamic program of kmeans1d."""
    centroids = torch.tensor([kmeans1d.cluster(weight.double().numpy(), 2**bits).centroids])
    return nearest(weight, centroids), centroids


def summary(rows: list[Row]) -> dict[str, float]:
    """Return the ratios of one case: our median time against the peer's, our inertia against both."""
    by_method = {row.method: [other for other in rows if other.method == row.method] for row in rows}
    mine, (theirs,) = by_method["tinyml"], by_method["fast-pytorch-kmeans"]
    middle = len(mine) // 2
    ratios: dict[str, float] = {
        "bits": theirs.bits,
        "deviation": theirs.deviation,
        "times_faster_core": theirs.core_seconds / sorted(row.core_seconds for row in mine)[middle],
        "times_faster_wall": theirs.wall_seconds / sorted(row.wall_seconds for row in mine)[middle],
        "inertia_of_peers": mine[0].inertia / theirs.inertia,
    }
    if optimum := by_method.get("kmeans1d"):
        ratios["inertia_of_optimum"] = mine[0].inertia / optimum[0].inertia
    return ratios


if __name__ == "__main__":
    main()
