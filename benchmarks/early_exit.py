"""What early exits cost and save, measured on the files of finished runs, beside networks without exits.

    python benchmarks/early_exit.py card.yaml --exits fp32=runs/early-exit --exits int8=runs/early-exit-int8 \
        --plain int8=runs/int8 --budget 1.0

The first run's baseline is what all is held against. `stream` holds every file over the test images; `budgets` the same
with thresholds chosen on validation data for other drops in accuracy; `overhead` leaving never beside the network
without exits, and leaving always beside its first stage alone; `agreement` the one file beside its stages and beside
the torch network. Latencies that stand together are of one interleaved run, one thread, batch 1.
"""

import argparse
import json
import tempfile
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import onnx
from record import record

from tinyml import Task, load_task
from tinyml.checkpoint import load_compressed
from tinyml.export.exits import exit_policy, set_thresholds
from tinyml.measure import measure_files
from tinyml.measure.inputs import network_inputs
from tinyml.measure.measurement import Measurement
from tinyml.pipeline.set_thresholds import thresholds_for
from tinyml.runtime.one_by_one import answer_each
from tinyml.runtime.session import open_session
from tinyml.runtime.staged import open_staged
from tinyml.training.evaluation import predict

Figures = dict[str, object]


def main() -> None:
    """Measure, print and record."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data")
    parser.add_argument("--exits", action="append", required=True, type=named, help="NAME=RUN of a network with exits")
    parser.add_argument("--plain", action="append", default=[], type=named, help="NAME=RUN of the same without exits")
    parser.add_argument("--budget", action="append", default=[], type=float, help="another drop in points")
    parser.add_argument("--result", default="early_exit")
    arguments = parser.parse_args()
    task, exits, plain = load_task(arguments.data), dict(arguments.exits), dict(arguments.plain)
    with tempfile.TemporaryDirectory() as folder:
        facts = {
            "stream": stream(task, exits, plain),
            "budgets": budgets(task, exits, arguments.budget, Path(folder)),
            "overhead": {name: overhead(run, plain.get(name), Path(folder)) for name, run in exits.items()},
            "agreement": {name: agreement(task, run) for name, run in exits.items()},
        }
    print(json.dumps(facts, indent=1))
    record(arguments.result, facts)


def named(text: str) -> tuple[str, Path]:
    """Return the name and the run directory of NAME=RUN."""
    name, _, run = text.partition("=")
    return name, Path(run)


def stream(task: Task, exits: Mapping[str, Path], plain: Mapping[str, Path]) -> list[Figures]:
    """Return the figures of the first run's baseline, of the networks without exits, and of those with."""
    files = {"baseline": next(iter(exits.values())) / "baseline" / "model.onnx"}
    files |= {f"{name}, without exits": run / "model.onnx" for name, run in plain.items()}
    files |= {f"{name}, with exits": run / "model.onnx" for name, run in exits.items()}
    return figures(task, files)


def budgets(task: Task, exits: Mapping[str, Path], drops: list[float], folder: Path) -> list[Figures]:
    """Return the figures of every network with exits at other drops (points) in accuracy."""
    files = {"baseline": next(iter(exits.values())) / "baseline" / "model.onnx"}
    for name, run in exits.items():
        for drop in drops:
            path = folder / f"{name}-{drop:g}.onnx"
            files[f"{name}, {drop:g} points"] = leaving(run, tuple(thresholds_for(run, drop, task).values()), path)
    return figures(task, files) if drops else []


def leaving(run: Path, thresholds: tuple[float, ...], path: Path) -> Path:
    """Write the run's file with other thresholds to a path, and return that."""
    onnx.save(set_thresholds(onnx.load(str(run / "model.onnx")), dict(enumerate(thresholds))), str(path))
    return path


def figures(task: Task, files: Mapping[str, Path]) -> list[Figures]:
    """Return what matters of every file, the first being the baseline, and timed in one interleaved run."""
    measured = measure_files(files, task=task)
    first = next(iter(files))
    return [row(name, each, measured[first]) for name, each in measured.items()]


def row(name: str, measured: Mapping[str, Measurement], baseline: Mapping[str, Measurement]) -> Figures:
    """Return the figures of one file."""
    ratio = measured["latency_mean_ratio"]
    facts: Figures = {
        "file": name,
        "accuracy": percent(measured["accuracy"].value),
        "n": measured["accuracy"].n,
        "times_smaller": round(baseline["size_bytes"].value / measured["size_bytes"].value, 2),
        "times_fewer_macs": round(baseline["macs"].value / measured["macs"].value, 3),
        "times_faster_mean": round(ratio.value, 3),
        "interval": [round(each, 3) for each in ratio.interval or ()],
        "latency_mean_ms": round(measured["latency_mean_ms"].value, 4),
        "p99_ms": round(float(measured["latency_ms"].details["p99_ms"]), 4),
    }
    if "early_exits" in measured:
        details = measured["early_exits"].details
        facts["exits"] = {
            str(index): {
                "share": round(float(details[f"exit_{index}_examples"]) / (measured["early_exits"].n or 1), 4),
                "accuracy_of_all": percent(float(details[f"exit_{index}_accuracy_of_all"])),
            }
            for index in range(int(details["exits"]))
        }
    return facts


def overhead(run: Path, plain: Path | None, folder: Path) -> Figures:
    """Return how many percent slower leaving never and leaving at the first exit are than the networks without."""
    policy = exit_policy(onnx.load(str(run / "model.onnx")))
    never = leaving(run, policy.leaving_at(len(policy.thresholds)), folder / "never.onnx")
    always = leaving(run, policy.leaving_at(0), folder / "always.onnx")
    return {
        "never_leaving_percent": slower((plain or run / "baseline") / "model.onnx", never),
        "always_leaving_percent": slower(run / "stages" / "stage_0.onnx", always),
    }


def slower(beside: Path, file: Path) -> list[float]:
    """Return by how many percent the file's median is above the other's, and the interval of that; random inputs."""
    found = measure_files({"beside": beside, "file": file})["file"]["latency_ratio"]
    low, high = found.interval or (np.nan, np.nan)
    return [round(100 * (1 / each - 1), 2) for each in (found.value, high, low)]


def agreement(task: Task, run: Path) -> Figures:
    """Return how far one file, stages and torch network agree on the whole test split."""
    assert task.test is not None
    session = open_session(run / "model.onnx")
    policy = exit_policy(onnx.load(str(run / "model.onnx")))
    inputs = network_inputs(session, task, task.test.x)
    one, taken = answer_each(session, inputs)
    staged, staged_taken = open_staged(run / "stages").run(inputs)
    module, _ = load_compressed(run)
    torch_logits = predict(module, task, task.test).swapaxes(0, 1)
    torch_taken = policy.taken(torch_logits)
    rows = np.arange(len(taken))
    same = taken == staged_taken
    return {
        "examples": len(taken),
        "stages_other_exit": int((~same).sum()),
        "stages_largest_difference_of_range": float(np.abs(one - staged)[same].max() / np.ptp(one)),
        "torch_same_exit": percent(float((taken == torch_taken).mean())),
        "torch_same_answer": percent(float((one.argmax(1) == torch_logits[torch_taken, rows].argmax(1)).mean())),
    }


def percent(share: float) -> float:
    """Return a share (0-1) in percent."""
    return round(100 * share, 2)


if __name__ == "__main__":
    main()
