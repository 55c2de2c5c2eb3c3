"""`tinyml benchmark`: ONNX files measured side by side."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from tinyml.cli import options

if TYPE_CHECKING:
    from tinyml.measure import Measurements


@options.verb("tinyml benchmark runs/fp32 runs/int8 --data card.yaml\ntinyml benchmark a.onnx b.onnx -o times.json")
@click.argument("files", nargs=-1, required=True, type=click.Path(path_type=Path), metavar="A B ...")
@options.data()
@options.input_shape
@click.option("--provider", default="CPUExecutionProvider", show_default=True, help="onnxruntime's provider.")
@options.threads()
@click.option("--batch", type=click.IntRange(1, 65536), default=1, show_default=True, help="Examples in a timed call.")
@options.seed()
@options.output("the result as JSON", required=False)
@options.overwrite
@options.as_json
def command(
    files: tuple[Path, ...],
    data: str | None,
    input_shape: tuple[int, ...] | None,
    provider: str,
    threads: int,
    batch: int,
    seed: int,
    output: Path | None,
    overwrite: bool,
    as_json: bool,
) -> None:
    """Measure run directories or ONNX files in one interleaved run; the first is the baseline."""
    from tinyml.cli.console import print_json, show_progress
    from tinyml.data import load_task
    from tinyml.files import check_output_file
    from tinyml.measure import measure_files, to_json
    from tinyml.measure.network import find_onnx
    from tinyml.runtime.probe import probe_machine

    named = dict(zip(_names(files), map(find_onnx, files), strict=True))
    if output is not None:
        check_output_file(output, overwrite=overwrite, inputs=named.values())
    task = load_task(data) if data is not None else None
    with show_progress() as progress:
        results = measure_files(
            named, task=task, input_shape=input_shape or (), provider=provider, threads=threads, batch=batch,
            seed=seed, progress=progress,
        )  # fmt: skip
    facts: dict[str, object] = {
        "baseline": next(iter(named)),
        "files": {name: str(path) for name, path in named.items()},
        "machine": probe_machine().to_json(),
        "measurements": to_json(results),
    }
    if output is not None:
        _write(output, facts)
    if as_json:
        print_json(facts)
    else:
        _print(results)


def _names(files: Sequence[Path]) -> list[str]:
    """Return the files as they were given; one that is given again gets a number."""
    names: list[str] = []
    for file in map(str, files):
        taken = sum(name == file or name.startswith(f"{file} #") for name in names)
        names.append(f"{file} #{taken + 1}" if taken else file)
    return names


def _write(output: Path, facts: dict[str, object]) -> None:
    """Write the result, whole or not at all."""
    import json

    from tinyml.files import write_atomically

    write_atomically(output, (json.dumps(facts, indent=1, allow_nan=False) + "\n").encode())


def _print(results: Measurements) -> None:
    """Print the table that a report has, then how it was timed and what the A/A control says."""
    from tinyml.cli.console import results as console
    from tinyml.report.comparison import compare_measurements
    from tinyml.report.tables import comparison_table

    baseline, *_ = results
    console().print(comparison_table(compare_measurements(results)))
    ratio, times = results[baseline]["latency_ratio"], results[baseline]["latency_ms"].details
    console().print(
        f"A/A control: the baseline against its own copy {ratio.value:.3f}x; ratios from "
        f"{ratio.details['band_low']:.3f} to {ratio.details['band_high']:.3f} are noise.\n"
        f"Batch {times['batch']}, {times['threads']} thread(s), inputs: {times['inputs']}, "
        f"{results[baseline]['latency_ms'].n} samples each, interleaved; ranges are 95 % intervals.\n"
        f"{times['cpu']}, onnxruntime {times['onnxruntime']}, {times['provider']}.",
        markup=False,
    )
