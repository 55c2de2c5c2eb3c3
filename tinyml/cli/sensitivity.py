"""`tinyml sensitivity`: which layers bear how much."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import click

from tinyml.cli import options
from tinyml.cli.analysis_job import analysis_job, load_and_tell
from tinyml.yaml_syntax import JSON

if TYPE_CHECKING:
    from tinyml.analysis.sensitivity.bits import Budget
    from tinyml.analysis.sensitivity.curves import Sensitivity
    from tinyml.analysis.sensitivity.measure import Request
    from tinyml.analysis.sensitivity.scan import Scanner, ScanSettings
    from tinyml.data import Task
    from tinyml.pipeline import Job, Root
    from tinyml.run_directory import RunDirectory


class Numbers(click.ParamType[tuple[float, ...]]):
    """Numbers between commas, such as 0.5,0.7."""

    name = "A,B,..."

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> tuple[float, ...]:
        """Parse the text."""
        if isinstance(value, tuple):
            return value
        try:
            return tuple(float(number) for number in str(value).split(","))
        except ValueError:
            self.fail(f"{value!r} is no list of numbers; write them with commas, such as 0.5,0.7", param, ctx)


@dataclass(frozen=True, kw_only=True)
class Wish:
    """What was asked for beside the network and its data."""

    pass_name: str
    sparsity: float | None
    budget: "Budget | None"
    images: int | None
    seed: int
    workers: int


@options.verb(
    "tinyml sensitivity net.th --model resnet20-cifar --data card.yaml --pass weight_pruning --sparsity 0.7 "
    "-o runs/sensitivity"
)
@options.checkpoint
@options.model(required=False)
@options.model_args
@options.data(required=True)
@click.option("--pass", "pass_name", metavar="PASS", required=True, help="In whose name layers are changed.")
@click.option("--levels", type=Numbers(), default=(), help="Sparsities (0-1) or bits.  [default: the pass's own]")
@click.option("--include", multiple=True, metavar="GLOB", default=("*",), show_default=True, help="Layers to scan.")
@click.option("--exclude", multiple=True, metavar="GLOB", help="Layers to leave out.")
@click.option(
    "--sparsity",
    type=click.FloatRange(0, 1, min_open=True, max_open=True),
    help="Share that recipe.yaml removes, from each layer as it bears it.  [default: 0.7 of weights, 0.3 of channels]",
)
@click.option(
    "--budget-bytes", type=click.IntRange(min=1), metavar="N", help="Bytes of the file whose bits recipe.yaml chooses."
)
@click.option(
    "--budget-drop-points",
    type=click.FloatRange(0, 100, min_open=True),
    metavar="P",
    help="Points that the bits of recipe.yaml may lose, by prediction: the smallest file.",
)
@options.target()
@options.images("Validation images")
@options.batch_size
@options.output("the curves, the page and the recipe (a folder)")
@options.seed()
@options.threads(text="Threads of each process.")
@options.workers()
@options.device
@options.overwrite
@options.resume
@options.as_json
def command(
    checkpoint: str,
    model: str | None,
    model_args: dict[str, JSON],
    data: str,
    pass_name: str,
    levels: tuple[float, ...],
    include: tuple[str, ...],
    exclude: tuple[str, ...],
    sparsity: float | None,
    budget_bytes: int | None,
    budget_drop_points: float | None,
    target: str,
    images: int | None,
    batch_size: int,
    output: Path,
    seed: int,
    threads: int,
    workers: int,
    device: str,
    overwrite: bool,
    resume: bool,
    as_json: bool,
) -> None:
    """Change one layer at a time, all else as it is, and see how far the validation score falls.

    CKPT is a checkpoint file or an earlier run directory. The folder holds sensitivity.json, sensitivity.html and, of a
    pruning pass or for a budget, recipe.yaml for `tinyml compress`. The test split is never touched.
    """
    import torch

    from tinyml.analysis.sensitivity.changes import find_change
    from tinyml.analysis.sensitivity.scan import ScanSettings
    from tinyml.analysis.sensitivity.units import Patterns
    from tinyml.training import find_device

    change = find_change(pass_name)
    wanted = change.checked(levels)
    settings = ScanSettings(
        levels=wanted,
        patterns=Patterns(include=include, exclude=exclude),
        batch_size=batch_size,
        device=str(find_device(device)),
    )
    torch.set_num_threads(threads)
    wish = Wish(
        pass_name=pass_name,
        sparsity=change.overall(sparsity, wanted),
        budget=change.budget(budget_bytes, budget_drop_points),
        images=images,
        seed=seed,
        workers=workers,
    )
    task = _task(data, wish)
    job = analysis_job(
        "sensitivity", checkpoint, model, model_args, task, seed=seed, threads=threads, device=device, target=target
    )
    _run(job, settings, wish, output, overwrite=overwrite, resume=resume, as_json=as_json)


def _task(data: str, wish: Wish) -> "Task":
    """Return the data, with so many validation images as were asked for."""
    from tinyml.analysis.sensitivity.measure import validation_of, with_fewer_images
    from tinyml.data import load_task

    task = load_task(data)
    validation_of(task)  # refuses where there is none
    return task if wish.images is None else with_fewer_images(task, wish.images, wish.seed)


def _run(
    job: "Job", settings: "ScanSettings", wish: Wish, output: Path, *, overwrite: bool, resume: bool, as_json: bool
) -> None:
    """Scan, write the folder, and show what was found."""
    from tinyml.analysis.sensitivity.measure import Request
    from tinyml.cli.sensitivity_results import chosen, read_scan, show_scan, write_scan
    from tinyml.run_directory import RunDirectory

    assert job.task is not None  # the verb needs --data
    root = load_and_tell(job)
    request = Request(
        model=root.compressed,
        task=job.task,
        pass_name=wish.pass_name,
        settings=settings,
        threads=job.threads,
        workers=wish.workers,
    )
    scanner = request.scanner()
    measure_bytes = _byte_measurement(job, root, request, scanner) if wish.budget else None
    facts = {**job.fingerprint(), **_facts(settings, wish)}
    with RunDirectory.create(
        output, overwrite=overwrite, resume=resume, fingerprint=facts, inputs=job.inputs
    ) as directory:
        if directory.is_done:
            sensitivity = read_scan(directory.directory)
        else:
            sensitivity = _scan(request, scanner, directory)
            if measure_bytes is not None:
                sensitivity = measure_bytes(sensitivity)
        found, missed = chosen(sensitivity, settings.patterns, wish.sparsity, wish.budget)
        if not directory.is_done:
            write_scan(directory, sensitivity, found, job)
    show_scan(sensitivity, found, output=output, as_json=as_json)
    if missed is not None:
        raise missed


def _byte_measurement(
    job: "Job", root: "Root", request: "Request", scanner: "Scanner"
) -> "Callable[[Sensitivity], Sensitivity]":
    """Return what adds the bytes of the file to a scan, after refusing what the pass itself would refuse."""
    from tinyml.analysis.sensitivity.file_bytes import check_quantizable, with_file_bytes
    from tinyml.pipeline.prepare import context_of
    from tinyml.progress import Silent
    from tinyml.training import ALONE

    context, settings = context_of(job, root, Silent(), ALONE), request.settings
    check_quantizable(request.pass_name, settings, request.model, context)
    return lambda found: with_file_bytes(found, scanner.units, settings.patterns, request.model, context)


def _facts(settings: "ScanSettings", wish: Wish) -> dict[str, str]:
    """Return what the numbers depend on beside the job."""
    return {
        "pass": wish.pass_name,
        "levels": ",".join(f"{level:g}" for level in settings.levels),
        "include": " ".join(settings.patterns.include),
        "exclude": " ".join(settings.patterns.exclude),
        "sparsity": str(wish.sparsity),
        "budget": str(wish.budget),
        "images": str(wish.images or "all"),
        "batch size": str(settings.batch_size),
    }


def _scan(request: "Request", scanner: "Scanner", directory: "RunDirectory") -> "Sensitivity":
    from tinyml.analysis.sensitivity.measure import measure_sensitivity
    from tinyml.cli.console import messages, show_progress
    from tinyml.cli.sensitivity_results import STEP

    try:
        with show_progress() as progress:
            return measure_sensitivity(request, scanner, store=directory.store(STEP), progress=progress)
    except KeyboardInterrupt:
        messages().print("The same command with --resume continues this scan.", markup=False)
        raise
