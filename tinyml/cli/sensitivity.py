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
    from tinyml.cli.sensitivity_results import Chosen
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
    from tinyml.data import load_task
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
    task = load_task(data)
    scanned = _scanned(task, wish)
    job = analysis_job(
        "sensitivity", checkpoint, model, model_args, task, seed=seed, threads=threads, device=device, target=target
    )
    _run(job, scanned, settings, wish, output, overwrite=overwrite, resume=resume, as_json=as_json)


def _scanned(task: "Task", wish: Wish) -> "Task":
    """Return the data with so many validation images as were asked for; a file is calibrated on all the data."""
    from tinyml.analysis.sensitivity.measure import validation_of, with_fewer_images

    validation_of(task)  # refuses where there is none
    return task if wish.images is None else with_fewer_images(task, wish.images, wish.seed)


def _run(
    job: "Job",
    scanned: "Task",
    settings: "ScanSettings",
    wish: Wish,
    output: Path,
    *,
    overwrite: bool,
    resume: bool,
    as_json: bool,
) -> None:
    """Scan, write the folder, and show what was found."""
    from tinyml.analysis.sensitivity.measure import Request
    from tinyml.cli.sensitivity_results import read_scan, show_scan, write_scan
    from tinyml.errors import GateMissed
    from tinyml.run_directory import RunDirectory

    root = load_and_tell(job)
    request = Request(
        model=root.compressed,
        task=scanned,
        pass_name=wish.pass_name,
        settings=settings,
        threads=job.threads,
        workers=wish.workers,
    )
    scanner = request.scanner()
    choose = _choice(job, root, request, scanner, wish)
    facts = {**job.fingerprint(), **_facts(settings, wish)}
    with RunDirectory.create(
        output, overwrite=overwrite, resume=resume, fingerprint=facts, inputs=job.inputs
    ) as directory:
        if directory.is_done:
            sensitivity, found = read_scan(directory.directory)
        else:
            sensitivity, found = choose(_scan(request, scanner, directory))
            write_scan(directory, sensitivity, found, settings.patterns, job)
    show_scan(sensitivity, found, output=output, as_json=as_json)
    if found.missed:
        raise GateMissed(found.missed)


def _choice(
    job: "Job", root: "Root", request: "Request", scanner: "Scanner", wish: Wish
) -> "Callable[[Sensitivity], tuple[Sensitivity, Chosen]]":
    """Return what chooses levels from a scan, and for a budget adds bytes to it.

    What the pass would refuse of the network for a budget is refused here, before the scan.
    """
    from tinyml.analysis.sensitivity.bits import BitChoice
    from tinyml.analysis.sensitivity.file_bytes import check_quantizable, made_bytes, with_file_bytes
    from tinyml.analysis.sensitivity.recipe import bit_recipe_of
    from tinyml.cli.sensitivity_results import chosen
    from tinyml.pipeline.prepare import context_of
    from tinyml.progress import Silent
    from tinyml.training import ALONE

    if wish.budget is None:
        return lambda scan: (scan, chosen(scan, wish.sparsity, None, None))
    context, patterns = context_of(job, root, Silent(), ALONE), request.settings.patterns
    check_quantizable(request.pass_name, request.settings, request.model, context)

    def measure(choice: BitChoice) -> int:
        return made_bytes(bit_recipe_of(request.pass_name, choice, patterns), request.model, context)

    def choose(scan: "Sensitivity") -> "tuple[Sensitivity, Chosen]":
        counted = with_file_bytes(scan, scanner.units, patterns, request.model, context)
        return counted, chosen(counted, None, wish.budget, measure)

    return choose


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
