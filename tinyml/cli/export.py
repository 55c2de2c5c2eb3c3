"""`tinyml export`: a finished file with other settings: so far the thresholds of a network with exits."""

from pathlib import Path

import click

from tinyml.cli import options

EXAMPLE = """\
tinyml export runs/net-exits --set-threshold 0=0.9 -o net.onnx
tinyml export runs/net-exits --set-threshold 0=0.9 --set-threshold 1=0.8 -o net-later
tinyml export runs/net-exits --max-drop-points 1 --data card.yaml -o net-earlier"""


class Threshold(click.ParamType[tuple[int, float]]):
    """An exit and its threshold, such as 0=0.9."""

    name = "EXIT=VALUE"

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> tuple[int, float]:
        """Parse the text."""
        if isinstance(value, tuple):
            return value
        exit_index, _, threshold = str(value).partition("=")
        try:
            return int(exit_index), float(threshold)  # the file's rule says which numbers mean something
        except ValueError:
            self.fail(f"{value!r} is no threshold; write the exit and a number, such as 0=0.9", param, ctx)


@options.verb(EXAMPLE)
@click.argument("source", metavar="DIR|FILE.onnx", type=click.Path(path_type=Path))
@click.option(
    "--set-threshold",
    "thresholds",
    type=Threshold(),
    multiple=True,
    help="An early exit, from 0 on, and from which confidence (0 to 1) on an example leaves there, 2 for never; for "
    "patience, how many exits in a row must agree.",
)
@click.option(
    "--max-drop-points",
    type=click.FloatRange(0, 100),
    help="Choose all thresholds anew on validation data: points of accuracy that leaving early may lose; wants --data.",
)
@options.data()
@options.output("the copy: a file that ends in .onnx, or a new folder for the file and its stages")
@options.overwrite
@options.as_json
def command(
    source: Path,
    thresholds: tuple[tuple[int, float], ...],
    max_drop_points: float | None,
    data: str | None,
    output: Path,
    overwrite: bool,
    as_json: bool,
) -> None:
    """Write a copy of a network with exits that leaves earlier or later; nothing else in it changes.

    What other thresholds give on validation data is told by the report's curve, and --max-drop-points chooses from it;
    what the copy gives, by `tinyml benchmark`.
    """
    from tinyml.cli.console import print_json
    from tinyml.data import load_task
    from tinyml.errors import OutputError, UsageError
    from tinyml.files import check_output_file
    from tinyml.measure.network import find_onnx
    from tinyml.numerics.exit_rules import is_never
    from tinyml.pipeline.set_thresholds import changed_exits, thresholds_for, write_files

    if (max_drop_points is None) == (not thresholds):
        raise UsageError("give --set-threshold, or --max-drop-points with --data")
    if (max_drop_points is None) != (data is None):
        raise UsageError("--max-drop-points and --data go together: thresholds are chosen on validation data")
    asked = [exit_index for exit_index, _ in thresholds]
    if twice := [exit_index for exit_index in asked if asked.count(exit_index) > 1]:
        raise UsageError(f"--set-threshold names exit {twice[0]} twice: leave one out")
    one_file = output.suffix == ".onnx"
    if one_file:
        check_output_file(output, overwrite=overwrite, inputs=[find_onnx(source)])
    elif output.exists():
        raise OutputError(f"The output '{output}' exists already. Choose a folder that does not.")
    chosen = dict(thresholds)
    if max_drop_points is not None and data is not None:
        chosen = thresholds_for(source, max_drop_points, load_task(data))
    made = changed_exits(source, chosen, with_stages=not one_file)
    if one_file:
        write_files(output.parent, {output.name: made.files["model.onnx"]})
    else:
        write_files(output, made.files)
    if as_json:
        print_json({"output": str(output), "before": vars(made.before), "after": vars(made.after)})
        return
    for index, (old, new) in enumerate(zip(made.before.thresholds, made.after.thresholds, strict=True)):
        now = "nobody leaves" if is_never(made.after.rule, new, exit_index=index) else f"leaves from {new:g}"
        click.echo(f"exit {index}: {now}" + (f" (was {old:g})" if new != old else ""))
    click.echo(f"written: {output}")
