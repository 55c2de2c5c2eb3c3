"""`tinyml compare`: finished runs side by side."""

import shlex
from pathlib import Path
from typing import TYPE_CHECKING

import click

from tinyml.cli import options

if TYPE_CHECKING:
    from tinyml.report.run_facts import RunComparison


@options.verb(
    "tinyml compare runs/int8 runs/kmeans4 runs/sparse70 -o compared.html\n"
    "tinyml compare runs/int8 runs/kmeans4 --difficulty runs/difficulty --data card.yaml\n"
    "tinyml compare runs/* --csv"
)
@click.argument("runs", nargs=-1, required=True, type=click.Path(path_type=Path), metavar="DIR ...")
@click.option("--remeasure", is_flag=True, help="Time all files once more in one interleaved run: milliseconds.")
@click.option(
    "--difficulty",
    type=click.Path(path_type=Path),
    metavar="DIR",
    help="Say by prediction depth what each run lost: a folder of tinyml difficulty; wants --data.",
)
@options.data()
@options.threads(text="Of onnxruntime, with --remeasure and --difficulty.")
@options.seed()
@options.output("an HTML page with pictures", required=False)
@options.overwrite
@options.as_json
@click.option("--csv", "as_csv", is_flag=True, help="Print one line a run, as CSV.")
@click.pass_context
def command(
    context: click.Context,
    runs: tuple[Path, ...],
    remeasure: bool,
    difficulty: Path | None,
    data: str | None,
    threads: int,
    seed: int,
    output: Path | None,
    overwrite: bool,
    as_json: bool,
    as_csv: bool,
) -> None:
    """Show what finished runs answer and what they cost, as they measured it, and which of them pay off.

    Each run was measured against its own baseline. Runs of another network or of other data get a table of their own.
    """
    from tinyml.errors import UsageError
    from tinyml.files import check_output_file, write_atomically
    from tinyml.report.compare_page import render_comparison

    if as_json and as_csv:
        raise UsageError("--json and --csv both print to stdout: give one of them")
    if difficulty is not None and data is None:
        raise UsageError("--difficulty wants --data: the networks answer its examples")
    if data is not None and difficulty is None and not remeasure:
        raise UsageError("--data is for --difficulty and --remeasure: the runs bring their scores; leave it out")
    if output is not None:
        if output.suffix != ".html":
            raise UsageError(f"the output '{output}' must end in .html")
        check_output_file(output, overwrite=overwrite)
        if any(output.resolve().is_relative_to(run.resolve()) for run in runs):
            raise UsageError(f"the output '{output}' lies in a run: it is sealed; choose another place")
    comparison = _comparison(runs, remeasure, difficulty, data, threads, seed)
    if output is not None:
        words = context.obj if isinstance(context.obj, list) else []
        write_atomically(output, render_comparison(comparison, shlex.join(["tinyml", *words])).encode())
    _show(comparison, output, as_json=as_json, as_csv=as_csv)


def _comparison(
    paths: tuple[Path, ...], remeasure: bool, difficulty: Path | None, data: str | None, threads: int, seed: int
) -> "RunComparison":
    """Return the runs, and what was asked for beside what they tell themselves."""
    from tinyml.cli.console import show_progress
    from tinyml.data import load_task
    from tinyml.pipeline.compare_runs import churn_of_runs, comparison_notes, read_runs, time_together
    from tinyml.report.run_facts import RunComparison

    groups = read_runs(paths)
    task = load_task(data) if data is not None else None
    with show_progress() as progress:
        churn = {}
        if difficulty is not None and task is not None:
            churn = churn_of_runs(groups, difficulty, task=task, threads=threads, progress=progress)
        timed = {}
        if remeasure:
            timed = time_together(groups, task=task, threads=threads, seed=seed, progress=progress)
    return RunComparison(groups=groups, notes=comparison_notes(groups, churn), timed=timed, churn=churn)


def _show(comparison: "RunComparison", output: Path | None, *, as_json: bool, as_csv: bool) -> None:
    """Print the comparison in the form that was asked for."""
    from tinyml.cli.compare_results import print_comparison, print_csv
    from tinyml.cli.console import print_json, results
    from tinyml.report.run_rows import comparison_json

    if as_json:
        print_json(comparison_json(comparison))
    elif as_csv:
        print_csv(comparison)
    else:
        print_comparison(comparison)
        if output is not None:
            results().print(f"Written: {output}", markup=False)
