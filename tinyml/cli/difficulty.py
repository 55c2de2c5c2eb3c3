"""`tinyml difficulty`: which examples are hard, and how deep the network is when it knows."""

from pathlib import Path
from typing import TYPE_CHECKING, Literal

import click

from tinyml.cli import options
from tinyml.cli.analysis_job import analysis_job, load_and_tell
from tinyml.yaml_syntax import JSON

if TYPE_CHECKING:
    from tinyml.analysis.difficulty.c_score import CScoreSettings
    from tinyml.analysis.difficulty.measure import Difficulty, Request, Work
    from tinyml.analysis.difficulty.probes import ProbeSettings
    from tinyml.pipeline import Job
    from tinyml.run_directory import RunDirectory


@options.verb("tinyml difficulty net.th --model resnet20-cifar --data card.yaml -o runs/difficulty")
@options.checkpoint
@options.model(required=False)
@options.model_args
@options.data(required=True)
@click.option("-k", "--neighbours", type=click.IntRange(min=1), default=30, show_default=True, help="Of each probe.")
@click.option(
    "--metric",
    type=click.Choice(["euclidean", "cosine"]),
    default="euclidean",
    show_default=True,
    help="Of the distance between features.",
)
@click.option(
    "--regions",
    type=click.IntRange(1, 32),
    default=2,
    show_default=True,
    help="Features are the means of so many regions along each side of an image.",
)
@click.option("--layers", multiple=True, metavar="GLOB", default=("*",), show_default=True, help="Layers to probe.")
@options.images("Examples of train", least=2)
@click.option(
    "--memory-mb", type=click.IntRange(min=1), default=1024, show_default=True, help="MiB that features take."
)
@options.batch_size
@click.option(
    "--calibration",
    type=click.IntRange(min=1),
    default=512,
    show_default=True,
    help="Images of train, spread over depths, that calibration.json names.",
)
@click.option("--c-score", type=click.IntRange(min=2), metavar="N", help="Train N networks on halves of a small train.")
@click.option("--c-score-epochs", type=click.IntRange(min=1), help="Of each of them.  [default: 30]")
@options.output("the page and the numbers (a folder)")
@options.seed()
@options.threads()
@options.device
@options.overwrite
@options.resume
@options.as_json
def command(
    checkpoint: str,
    model: str | None,
    model_args: dict[str, JSON],
    data: str,
    neighbours: int,
    metric: Literal["euclidean", "cosine"],
    regions: int,
    layers: tuple[str, ...],
    images: int | None,
    memory_mb: int,
    batch_size: int,
    calibration: int,
    c_score: int | None,
    c_score_epochs: int | None,
    output: Path,
    seed: int,
    threads: int,
    device: str,
    overwrite: bool,
    resume: bool,
    as_json: bool,
) -> None:
    """Show at which layer the network makes up its mind about each example, and which examples are hard.

    CKPT is a checkpoint file or an earlier run directory. The folder holds report.html, difficulty.json, depths.npz
    (each example), calibration.json (for linear_quantization) and, where there are places for exits, exits.json (for
    early_exit).
    Nothing is chosen on the test split.
    """
    import torch

    from tinyml.analysis.difficulty.probes import ProbeSettings
    from tinyml.data import load_task
    from tinyml.training import find_device

    settings = ProbeSettings(
        neighbours=neighbours,
        metric=metric,
        side=regions,
        layers=layers,
        memory_bytes=memory_mb * 2**20,
        batch_size=batch_size,
        device=str(find_device(device)),
    )
    scores = _scores(c_score, c_score_epochs, seed=seed, device=settings.device)
    torch.set_num_threads(threads)
    job = analysis_job(
        "difficulty", checkpoint, model, model_args, load_task(data), seed=seed, threads=threads, device=device
    )
    request = _request(job, settings, images, scores)
    _run(job, request, calibration, output, overwrite=overwrite, resume=resume, as_json=as_json)


def _scores(runs: int | None, epochs: int | None, *, seed: int, device: str) -> "CScoreSettings | None":
    """Return how C-scores are to be had, None where they were not asked for."""
    from tinyml.analysis.difficulty.c_score import EPOCHS, CScoreSettings
    from tinyml.errors import UsageError

    if runs is not None:
        return CScoreSettings(runs=runs, epochs=epochs or EPOCHS, seed=seed, device=device)
    if epochs is not None:
        raise UsageError("--c-score-epochs is for --c-score N, which is not given: add it, or leave the epochs out")
    return None


def _request(job: "Job", settings: "ProbeSettings", images: int | None, scores: "CScoreSettings | None") -> "Request":
    """Return what to look at, with the network loaded."""
    from tinyml.analysis.difficulty.measure import Request

    assert job.task is not None  # the verb needs --data
    model = load_and_tell(job).compressed
    return Request(model=model, task=job.task, settings=settings, images=images, seed=job.seed, c_score=scores)


def _run(
    job: "Job", request: "Request", calibration: int, output: Path, *, overwrite: bool, resume: bool, as_json: bool
) -> None:
    """Measure, write the folder, and show what was found."""
    from tinyml.analysis.difficulty.measure import Work
    from tinyml.cli.difficulty_results import read_summary, show_difficulty, write_difficulty
    from tinyml.run_directory import RunDirectory

    work = Work(request)
    facts = {**job.fingerprint(), **_facts(request), "calibration": str(calibration)}
    with RunDirectory.create(
        output, overwrite=overwrite, resume=resume, fingerprint=facts, inputs=job.inputs
    ) as directory:
        if directory.is_done:
            summary = read_summary(directory.directory)
        else:
            found = _measure(work, directory)
            summary = found.summary
            write_difficulty(directory, found, job, calibration)
    show_difficulty(summary, output=output, as_json=as_json)


def _facts(request: "Request") -> dict[str, str]:
    """Return what the numbers depend on beside the job."""
    settings, scores = request.settings, request.c_score
    return {
        "neighbours": str(settings.neighbours),
        "metric": settings.metric,
        "regions": str(settings.side),
        "layers": " ".join(settings.layers),
        "images": str(request.images or "all"),
        "batch size": str(settings.batch_size),
        "C-score": f"{scores.runs} trainings, {scores.epochs} epochs" if scores else "none",
    }


def _measure(work: "Work", directory: "RunDirectory") -> "Difficulty":
    from tinyml.cli.console import messages, show_progress
    from tinyml.cli.difficulty_results import C_SCORE_STEP, STEP

    try:
        with show_progress() as progress:
            return work.measure(store=directory.store(STEP), c_store=directory.store(C_SCORE_STEP), progress=progress)
    except KeyboardInterrupt:
        messages().print("The same command with --resume continues.", markup=False)
        raise
