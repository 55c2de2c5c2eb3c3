"""`tinyml profile`: what each layer costs."""

from __future__ import annotations

import logging
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

import click

from tinyml.cli import options

if TYPE_CHECKING:
    from tinyml.measure.profile import Profile
    from tinyml.yaml_syntax import JSON


@options.verb("tinyml profile runs/int8\ntinyml profile --model resnet20-cifar --input-shape 3,32,32 --macs-rule labs")
@click.argument("file", required=False, type=click.Path(path_type=Path), metavar="[DIR|FILE.onnx|CKPT]")
@options.model(required=False)
@options.model_args
@options.input_shape
@options.data()
@options.target()
@click.option(
    "--macs-rule",
    type=click.Choice(["conv-linear", "labs"]),
    default="conv-linear",
    show_default=True,
    help="labs: BatchNorm and mean pooling count too, on the torch graph before folding; wants --model.",
)
@click.option("--runs", type=click.IntRange(1, 100000), default=100, show_default=True, help="Runs for the times.")
@options.threads()
@options.seed()
@options.as_json
def command(
    file: Path | None,
    model: str | None,
    model_args: dict[str, JSON],
    input_shape: tuple[int, ...] | None,
    data: str | None,
    target: str,
    macs_rule: str,
    runs: int,
    threads: int,
    seed: int,
    as_json: bool,
) -> None:
    """Show shape, parameters, MACs, activation bytes and measured latency of each layer."""
    import tempfile

    from tinyml.cli.console import print_json
    from tinyml.data import load_task
    from tinyml.errors import UsageError
    from tinyml.measure.network import find_onnx
    from tinyml.measure.profile import profile_file
    from tinyml.target import load_target

    if file is None and model is None:
        raise UsageError("Give a run directory, an ONNX file, or --model with --input-shape.")
    if macs_rule == "labs" and model is None:
        raise UsageError(
            "--macs-rule labs counts on the torch graph; give --model (and a checkpoint), not an ONNX file."
        )
    device = load_target(target)
    task = load_task(data) if data is not None else None
    extra: dict[str, object] = {}
    with tempfile.TemporaryDirectory(prefix="tinyml-profile-") as folder:
        if model is None:
            path = find_onnx(file) if file is not None else Path()
        else:
            shape = input_shape or (task.input_shape if task is not None else ())
            path = Path(folder) / "model.onnx"
            extra = _export(path, model, model_args, file, shape, target, macs_rule)
        result = profile_file(
            path, task=task, input_shape=input_shape or (), provider=device.provider, threads=threads, runs=runs,
            seed=seed,
        )  # fmt: skip
    if as_json:
        named = {"path": model} if model is not None else {}
        print_json({**result.to_json(), **named, **extra})
    else:
        _print(result, model or str(path), extra)


def _export(
    path: Path,
    model: str,
    model_args: dict[str, JSON],
    checkpoint: Path | None,
    input_shape: tuple[int, ...],
    target: str,
    macs_rule: str,
) -> dict[str, object]:
    """Export a torch model to `path`; return the MACs under the labs' rule where those were asked for."""
    import onnx

    from tinyml.checkpoint import load_into, read_state
    from tinyml.export import to_onnx
    from tinyml.measure.macs_torch import macs_of_module
    from tinyml.models import create_model, find_model
    from tinyml.target import load_target

    module = create_model(model, model_args)
    if checkpoint is not None and str(checkpoint) != "random":
        state = read_state(checkpoint)
        _show_notes((*state.notes, *load_into(module, state, source=checkpoint)))
    shape = input_shape or find_model(model).input_shape
    if shape is None:
        from tinyml.errors import UsageError

        raise UsageError(f"The input shape of {model} is not known; give --input-shape, such as 3,32,32.")
    onnx.save(to_onnx(module, input_shape=shape, target=load_target(target)), path)
    return {"labs_macs": macs_of_module(module, shape, "labs").to_json()} if macs_rule == "labs" else {}


def _show_notes(notes: Iterable[str]) -> None:
    """Say on stderr what was undone or converted in a checkpoint; nothing with -q."""
    if logging.getLogger("tinyml").isEnabledFor(logging.WARNING):
        for note in notes:
            click.echo(f"note: {note}", err=True)


def _print(result: Profile, name: str, extra: dict[str, object]) -> None:
    """Print a row for each layer, then the sums and what could not be attributed."""
    from tinyml.cli.console import print_table
    from tinyml.report.units import bytes_text

    whole = sum(layer.latency_ms for layer in result.layers) or 1.0
    rows = [
        (
            layer.name,
            layer.operator,
            "x".join(map(str, layer.output_shape)) or "unknown",
            f"{layer.parameters:,}" if layer.parameters else "",
            f"{layer.macs:,}" if layer.macs else "",
            bytes_text(layer.activation_bytes),
            f"{layer.latency_ms:.3f}" if layer.runs_as else "fused",
            f"{100 * layer.latency_ms / whole:.0f} %" if layer.runs_as else "",
            layer.runs_as,
        )
        for layer in result.layers
    ]
    numbers = ["parameters", "MACs", "activations", "ms", "share"]
    print_table(["layer", "operator", "output", *numbers, "runs as"], rows, title=name, right=numbers)
    _print_sums(result, whole, extra)


def _print_sums(result: Profile, whole: float, extra: dict[str, object]) -> None:
    """Print the sums, where the times come from, and what could not be laid to a layer; `whole` is in ms."""
    from tinyml.cli.console import results as console

    say = console()
    say.print(
        f"Parameters {sum(layer.parameters for layer in result.layers):,}; MACs "
        f"{sum(layer.macs for layer in result.layers):,} (conv-linear, on the exported file, one multiply-add is one).",
        markup=False,
    )
    labs = extra.get("labs_macs")
    if isinstance(labs, dict):
        say.print(f"MACs by the labs' rule, on the torch graph before folding: {labs['value']:,}.", markup=False)
    say.print(
        f"Times: the runtime's own profile, medians, {result.threads} thread(s), {result.provider}; layers "
        f"{whole:.3f} ms, a run {result.run_ms:.3f} ms with profiling on.",
        markup=False,
    )
    rare = [layer for layer in result.layers if 0 < layer.runs < max(each.runs for each in result.layers)]
    if rare:
        say.print(
            f"{len(rare)} layers stand in branches that not every input takes: their times are of the runs that came "
            "to them.",
            markup=False,
        )
    if result.unattributed:
        sums = {node.operator: (0, 0.0) for node in result.unattributed}
        for node in result.unattributed:
            sums[node.operator] = sums[node.operator][0] + 1, sums[node.operator][1] + node.median_ms
        nodes = ", ".join(f"{times} {operator} {total:.3f} ms" for operator, (times, total) in sums.items())
        say.print(f"Ran, but belongs to no node of the file: {nodes}.", markup=False)
    if result.not_counted:
        say.print(f"Not counted in the MACs: {', '.join(result.not_counted)}.", markup=False)
