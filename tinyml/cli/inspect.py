"""`tinyml inspect`: the weights of a network."""

from pathlib import Path
from typing import TYPE_CHECKING

import click

from tinyml.cli import options
from tinyml.yaml_syntax import JSON

if TYPE_CHECKING:
    from tinyml.analysis.inspection import Inspection

BASELINE = "baseline"


@options.verb("tinyml inspect net.th --model resnet20-cifar\ntinyml inspect runs/int8 -o weights.html")
@click.argument("checkpoint", metavar="CKPT|DIR|FILE.onnx", type=click.Path(path_type=Path))
@options.model(required=False)
@options.model_args
@options.input_shape
@options.output("an HTML page with histograms", required=False)
@options.overwrite
@options.as_json
def command(
    checkpoint: Path,
    model: str | None,
    model_args: dict[str, JSON],
    input_shape: tuple[int, ...] | None,
    output: Path | None,
    overwrite: bool,
    as_json: bool,
) -> None:
    """Show the weights of each layer: how many, how many zeros and distinct values, in which range.

    Of a run directory it is the file that ships, with the baseline beside it on the page. Of a checkpoint without
    --model the tensors are shown as they are called.
    """
    from dataclasses import asdict

    from tinyml.cli.console import print_json, print_table, results
    from tinyml.errors import UsageError
    from tinyml.files import check_output_file, write_atomically
    from tinyml.report.inspection_page import COLUMNS, NUMBERS, inspection_rows, render_inspection, totals_text

    if output is not None:
        if output.suffix != ".html":
            raise UsageError(f"the output '{output}' must end in .html")
        check_output_file(output, overwrite=overwrite, inputs=[checkpoint])
    shape = input_shape or ()
    found = _inspection(checkpoint, model, model_args, shape)
    if output is not None:
        write_atomically(output, render_inspection(found, _baseline(checkpoint, shape)).encode())
    if as_json:
        layers = [asdict(layer) for layer in found.layers]
        print_json({"subject": found.subject, "layers": layers, "other_parameters": found.others})
        return
    print_table(COLUMNS, inspection_rows(found), title=found.subject, right=NUMBERS)
    results().print(totals_text(found), markup=False)
    if output is not None:
        results().print(f"Written: {output}", markup=False)


def _inspection(
    checkpoint: Path, model: str | None, model_args: dict[str, JSON], input_shape: tuple[int, ...]
) -> "Inspection":
    """Return the weights of whatever was named."""
    from tinyml.analysis.inspection import inspect_module, inspect_onnx, inspect_tensors
    from tinyml.checkpoint import ARCHITECTURE_NAME, load_compressed, load_into, read_state
    from tinyml.errors import UsageError
    from tinyml.measure.network import find_onnx
    from tinyml.models import create_model

    if checkpoint.is_dir() or checkpoint.suffix == ".onnx":
        if model is not None:
            raise UsageError(f"'{checkpoint}' knows its model: leave --model out")
        if (checkpoint / ARCHITECTURE_NAME).is_file() and not (checkpoint / "model.onnx").is_file():
            return inspect_module(load_compressed(checkpoint)[0], str(checkpoint))
        return inspect_onnx(find_onnx(checkpoint), input_shape)
    if model is None:
        return inspect_tensors(read_state(checkpoint).tensors, str(checkpoint))
    module = create_model(model, model_args)
    if str(checkpoint) != "random":
        load_into(module, read_state(checkpoint), source=checkpoint)
    return inspect_module(module, f"{checkpoint} as {model}")


def _baseline(checkpoint: Path, input_shape: tuple[int, ...]) -> "Inspection | None":
    """Return the weights of the uncompressed network that a run directory keeps; None where there is none."""
    from tinyml.analysis.inspection import inspect_onnx

    path = checkpoint / BASELINE / "model.onnx"
    return inspect_onnx(path, input_shape) if path.is_file() else None
