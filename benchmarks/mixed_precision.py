"""Bits by layer beside the same bits for all layers, in files of the same size: which answers better?

A folder of `tinyml sensitivity --pass linear_quantization --budget-bytes N` holds the scan, made on validation images;
for each uniform file the bits of a file that is no larger are chosen from it. Both are compressed alike, without
training, and the files are run on the images that chose, and on the test images.

    python benchmarks/mixed_precision.py net.pt --model resnet20-cifar --data card.yaml --scan runs/scan --bits 4,3
"""

import argparse
import json
import tempfile
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path

from record import record

from tinyml import Job, PassEntry, Recipe, compress, load_recipe, load_target, load_task
from tinyml.analysis.sensitivity.bits import ByteBudget, choose_bits
from tinyml.analysis.sensitivity.curves import Sensitivity
from tinyml.analysis.sensitivity.recipe import bit_recipe_of
from tinyml.analysis.sensitivity.units import Patterns
from tinyml.data import Split
from tinyml.passes.linear_quantization import LinearQuantization
from tinyml.runtime.session import logits, open_session

Figures = dict[str, object]


def main() -> None:
    """Compress every pair, print its figures, record them."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("checkpoint", type=Path)
    parser.add_argument("--model", required=True)
    parser.add_argument("--data", required=True)
    parser.add_argument("--scan", type=Path, required=True)
    parser.add_argument("--bits", default="4,3")
    parser.add_argument("--rounding", default="nearest", help="nearest,adaround")
    parser.add_argument("--runs", type=Path, help="keep the run directories here, and go on with those that are there")
    arguments = parser.parse_args()
    scan = Sensitivity.from_json(json.loads((arguments.scan / "sensitivity.json").read_text(encoding="utf-8")))
    assert scan.file is not None
    job = Job(
        checkpoint=arguments.checkpoint,
        model=arguments.model,
        recipe=load_recipe("baseline"),
        target=load_target(scan.file.target),
        task=load_task(arguments.data),
    )
    rows: list[Figures] = []
    with ExitStack() as stack:
        runs = arguments.runs or Path(stack.enter_context(tempfile.TemporaryDirectory()))
        for rounding in arguments.rounding.split(","):
            for bits in map(int, arguments.bits.split(",")):
                rows += pair(job, scan, bits, rounding, runs)
                print(json.dumps(rows[-2:], indent=1), flush=True)
                record("mixed_precision", {"scan": scan.data, "target": scan.file.target, "rows": rows})


def pair(job: Job, scan: Sensitivity, bits: int, rounding: str, runs: Path) -> list[Figures]:
    """Return the figures of the same bits for all layers, and of bits by layer in a file that is no larger."""
    uniform = rounded(quantized("uniform", LinearQuantization(weight_bits=bits)), rounding)
    first = figures(job, uniform, runs / f"{rounding}-uniform-{bits}")
    choice = choose_bits(scan, ByteBudget(most_bytes=int(str(first["size_bytes"]))))
    mixed = rounded(bit_recipe_of(scan.pass_name, choice, Patterns()), rounding)
    second = figures(job, mixed, runs / f"{rounding}-by-layer-{bits}")
    by_layer = " ".join(f"{level:.0f}" for level in choice.levels.values())
    return [
        {"bits": f"{bits} for all", "rounding": rounding, "predicted": vars(choice.uniform[bits]), **first},
        {"bits": by_layer, "rounding": rounding, "predicted": vars(choice.predicted), **second},
    ]


def quantized(name: str, settings: LinearQuantization) -> Recipe:
    """Return the recipe of one pass."""
    return Recipe(name=name, passes=(PassEntry(name="linear_quantization", settings=settings),))


def rounded(recipe: Recipe, rounding: str) -> Recipe:
    """Return the recipe with another rounding."""
    (entry,) = recipe.passes
    settings = replace(entry.settings, rounding=rounding)  # type: ignore[call-arg]  # of LinearQuantization
    return replace(recipe, passes=(replace(entry, settings=settings),))


def figures(job: Job, recipe: Recipe, run: Path) -> Figures:
    """Return what the file of one run answers, with its size."""
    outcome = compress(replace(job, recipe=recipe), run, resume=True)
    task, measured = job.task, outcome.measurements["model"]
    assert task is not None
    assert task.validation is not None
    return {
        "size_bytes": int(measured["size_bytes"].value),
        "validation": accuracy(job, task.validation, run / "model.onnx"),
        "validation_n": len(task.validation),
        "test": round(100 * measured["accuracy"].value, 2),
        "test_n": measured["accuracy"].n,
    }


def accuracy(job: Job, split: Split, model: Path) -> float:
    """Return the accuracy of a file on a split, in percent."""
    assert job.task is not None
    answers = logits(open_session(model), job.task.inputs(split.x)).argmax(axis=1)
    return round(100 * float((answers == split.y).mean()), 2)


if __name__ == "__main__":
    main()
