"""`tinyml compress`: the main job."""

import shlex
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import click

from tinyml.cli import options
from tinyml.torchrun import launch
from tinyml.yaml_syntax import JSON

if TYPE_CHECKING:
    from tinyml.pipeline import Job

EXAMPLE = """\
tinyml compress net.th --model resnet20-cifar --data card.yaml --recipe int8 --target cpu -o runs/net-int8
tinyml compress random --model vgg-cifar --recipe baseline -o runs/vgg"""


@options.verb(EXAMPLE)
@options.checkpoint
@options.model(required=False)
@options.model_args
@options.data()
@options.input_shape
@options.recipe()
@options.target()
@options.output("the run directory")
@options.overrides
@options.seed(None)
@options.threads(text="Of onnxruntime, to verify and time with; torch takes OMP_NUM_THREADS.")
@options.device
@options.overwrite
@options.resume
@options.dry_run
@options.as_json
@options.parallel
def command(
    checkpoint: str,
    model: str | None,
    model_args: dict[str, JSON],
    data: str | None,
    input_shape: tuple[int, ...] | None,
    recipe: str,
    target: str,
    output: Path,
    overrides: tuple[str, ...],
    seed: int | None,
    threads: int,
    device: str,
    overwrite: bool,
    resume: bool,
    dry_run: bool,
    as_json: bool,
) -> None:
    """Send a checkpoint through a recipe: compress, export, verify, measure, report.

    CKPT is a checkpoint file, an earlier run directory, or the word `random` for fresh weights. The run directory
    holds model.onnx, which ships, and report.html. Exit code 3 says that a gate was missed, which the kept directory
    tells, or that the goal of a pass is out of reach: the directory is unfinished then.

    Started by torchrun in several processes, they train together (see tinyml train); the first one does all else.
    """
    from tinyml.cli.console import messages, show_progress
    from tinyml.cli.outcome_summary import show_outcome
    from tinyml.data import load_task
    from tinyml.pipeline import Job, compress
    from tinyml.recipe import load_recipe
    from tinyml.target import load_target

    loaded = load_recipe(recipe, overrides)
    job = Job(
        checkpoint=None if checkpoint == "random" else Path(checkpoint),
        model=model or "",
        model_args=model_args,
        recipe=loaded if seed is None else replace(loaded, seed=seed),
        target=load_target(target),
        task=load_task(data) if data is not None else None,
        input_shape=input_shape or (),
        threads=threads,
        device=device,
        command=shlex.join(["tinyml", *(click.get_current_context().obj or ())]),
    )
    if dry_run:
        _dry_run(job, output, overwrite=overwrite, resume=resume, as_json=as_json)
        return
    try:
        with show_progress() as progress:
            outcome = compress(job, output, overwrite=overwrite, resume=resume, progress=progress)
    except KeyboardInterrupt:
        if output.exists():
            messages().print("The same command with --resume continues this run.", markup=False)
        raise
    if launch().leads:
        show_outcome(outcome, as_json=as_json)
    outcome.require_gates()


def _dry_run(job: "Job", output: Path, *, overwrite: bool, resume: bool, as_json: bool) -> None:
    """Ask everything that the run would ask, and say what it would do."""
    from tinyml.cli.console import print_json
    from tinyml.pipeline.prepare import prepare
    from tinyml.run_directory import RunDirectory
    from tinyml.training import joined

    with joined() as processes:
        root = prepare(job, processes)
    RunDirectory.check(output, overwrite=overwrite, resume=resume, fingerprint=job.fingerprint(), inputs=job.inputs)
    if as_json:
        names = [entry.name for entry in job.recipe.passes]
        print_json({"output": str(output), "passes": names, "target": job.target.name, "notes": list(root.notes)})
        return
    for note in root.notes:
        click.echo(f"note: {note}")
    passes = " -> ".join(entry.name for entry in job.recipe.passes) or "no pass"
    click.echo(f"{root.compressed.architecture.model} {job.recipe.name}: {passes} -> ONNX for {job.target.name}")
    click.echo(f"would write the run directory {output}; nothing was written")
