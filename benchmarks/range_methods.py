"""Which calibration method is the best default? int8 without training by every method, on several networks.

The choice is made on validation data, in torch's fake-quantized arithmetic (which the shipped file reproduces), with
weights in the full and in the reduced (7-bit) range, over several draws of the calibration images.

    python benchmarks/range_methods.py NAME=MODEL,CHECKPOINT,CARD ...
"""

import argparse
import statistics

import torch
from networks import Network, parse_network
from record import record

from tinyml import load_recipe, load_target, load_task
from tinyml.numerics.ranges import RANGES
from tinyml.passes import Context
from tinyml.passes.linear_quantization import Calibration, LinearQuantization
from tinyml.pipeline import Job, load_root
from tinyml.progress import Silent
from tinyml.training import evaluate


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("networks", nargs="+", type=parse_network, metavar="NAME=MODEL,CHECKPOINT,CARD")
    parser.add_argument("--draws", type=int, default=3)
    parser.add_argument("--images", type=int, default=512)
    arguments = parser.parse_args()
    table: dict[str, dict[str, float]] = {}
    for network in arguments.networks:
        table[network.name] = losses(network, draws=arguments.draws, images=arguments.images)
        print(network.name, table[network.name], flush=True)
    columns = [key for key in next(iter(table.values())) if key != "float"]
    mean = {key: statistics.mean(row[key] for row in table.values()) for key in columns}
    print("mean points lost", mean)
    record("range_methods", {"points_lost_on_validation": table, "mean_points_lost": mean})


def losses(network: Network, *, draws: int, images: int) -> dict[str, float]:
    """Return the float accuracy in percent, and the points lost by method and weight range, averaged over draws."""
    task = load_task(network.card)
    if task.validation is None:
        raise SystemExit(f"{network.card} has no validation split to choose on")
    row: dict[str, float] = {}
    for target_name in ("x86-vnni", "x86-avx2"):
        target = load_target(target_name)
        root = load_root(
            Job(
                checkpoint=network.checkpoint,
                model=network.model,
                recipe=load_recipe("int8"),
                target=target,
                task=task,
            )
        )
        dense = evaluate(root.compressed.module, task, task.validation).score
        row["float"] = 100 * dense
        for method in RANGES:
            settings = LinearQuantization(calibration=Calibration(method=method, images=images))
            scores = []
            for seed in range(draws):
                context = Context(
                    task=task, target=target, teacher=root.compressed.module, seed=seed, device="cpu", progress=Silent()
                )
                quantized = settings.apply(root.compressed, context)
                with torch.inference_mode():
                    scores.append(evaluate(quantized.module, task, task.validation).score)
            row[f"{method}, {target.integer.weight_range} weights"] = round(100 * (dense - statistics.mean(scores)), 3)
    return row


if __name__ == "__main__":
    main()
