"""Time of calibration + quantization beside onnxruntime's quantize_static, on the same images, interleaved.

Both start from the trained network and end with every scale and zero point chosen. Imports and torch's ONNX exporter
are not timed (onnxruntime starts from the file that the exporter made). Each has its own default number of threads.

    python benchmarks/calibration_speed.py CHECKPOINT --model resnet32-cifar --data card.yaml
"""

import argparse
import json
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import numpy as np
from onnxruntime.quantization import CalibrationDataReader, CalibrationMethod, QuantFormat, QuantType, quantize_static
from record import record

from tinyml import load_recipe, load_target, load_task
from tinyml.export import to_onnx
from tinyml.passes import Context
from tinyml.passes.linear_quantization import Calibration, LinearQuantization
from tinyml.pipeline import Job, load_root
from tinyml.progress import Silent


class Images(CalibrationDataReader):
    """Feeds the images in batches."""

    def __init__(self, images: np.ndarray, batch: int) -> None:
        self.batches: Iterator[np.ndarray] = iter(np.split(images, range(batch, len(images), batch)))

    def get_next(self) -> dict[str, np.ndarray] | None:
        batch = next(self.batches, None)
        return None if batch is None else {"input": batch}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("checkpoint", type=Path)
    parser.add_argument("--model", required=True)
    parser.add_argument("--data", required=True)
    parser.add_argument("--images", type=int, default=512)
    parser.add_argument("--rounds", type=int, default=7)
    arguments = parser.parse_args()

    task, target = load_task(arguments.data), load_target("x86-vnni")
    job = Job(
        checkpoint=arguments.checkpoint, model=arguments.model, recipe=load_recipe("int8"), target=target, task=task
    )
    root = load_root(job)
    context = Context(task=task, target=target, teacher=root.compressed.module, seed=0, device="cpu", progress=Silent())
    images = task.calibration_inputs(arguments.images, 0)
    with tempfile.TemporaryDirectory() as folder:
        source, result = Path(folder, "float.onnx"), Path(folder, "int8.onnx")
        model = to_onnx(root.compressed.module, input_shape=root.input_shape, target=target)
        source.write_bytes(model.SerializeToString())

        def ours(method: str) -> Callable[[], None]:
            settings = LinearQuantization(calibration=Calibration(method=method, images=arguments.images))
            return lambda: (settings.apply(root.compressed, context), None)[1]

        def peer(batch: int) -> Callable[[], None]:
            return lambda: quantize_static(
                source,
                result,
                Images(images, batch),
                quant_format=QuantFormat.QDQ,
                per_channel=True,
                activation_type=QuantType.QUInt8,
                weight_type=QuantType.QInt8,
                calibrate_method=CalibrationMethod.MinMax,
            )

        contenders = {
            "tinyml mse (default)": ours("mse"),
            "tinyml minmax": ours("minmax"),
            "onnxruntime MinMax, batch 1": peer(1),
            "onnxruntime MinMax, batch 64": peer(64),
        }
        seconds = time_rounds(contenders, arguments.rounds)
    medians = {name: statistics.median(values) for name, values in seconds.items()}
    best_peer = min(value for name, value in medians.items() if name.startswith("onnxruntime"))
    facts = {
        "images": arguments.images,
        "seconds": seconds,
        "median_seconds": medians,
        "ratio_to_fastest_peer": {name: value / best_peer for name, value in medians.items()},
    }
    record("calibration_speed", facts)
    print(json.dumps({key: value for key, value in facts.items() if key != "seconds"}, indent=1))


def time_rounds(contenders: Mapping[str, Callable[[], None]], rounds: int) -> dict[str, list[float]]:
    """Return the seconds of each contender in each round, in an order that is drawn anew; one more round warms up."""
    seconds: dict[str, list[float]] = {name: [] for name in contenders}
    generator = np.random.default_rng(0)
    for position in range(rounds + 1):
        for name in generator.permutation(list(contenders)):
            start = time.perf_counter()
            contenders[name]()
            if position:
                seconds[name].append(time.perf_counter() - start)
    return seconds


if __name__ == "__main__":
    main()
