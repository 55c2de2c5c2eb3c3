"""`tinyml demo`: the whole way on the shipped digits, in a minute."""

import shlex
from dataclasses import replace
from pathlib import Path

from tinyml.cli import options

MODEL = "lenet-digits"


@options.verb("tinyml demo -o runs/demo")
@options.output("the run directory")
@options.recipe(required=False)
@options.target()
@options.overwrite
@options.as_json
def command(output: Path, recipe: str | None, target: str, overwrite: bool, as_json: bool) -> None:
    """Train a small network on the digits, compress it with int8, verify, measure, and write its report.

    The file is verified and timed with one thread. The trained checkpoint is left beside the run directory, for
    trying other recipes on it.
    """
    from tinyml.checkpoint import save_trained
    from tinyml.cli.console import messages, show_progress
    from tinyml.cli.outcome_summary import show_outcome
    from tinyml.data import load_task
    from tinyml.files import check_output_file
    from tinyml.pipeline import Job, compress
    from tinyml.pipeline.prepare import prepare
    from tinyml.recipe import load_recipe
    from tinyml.run_directory import RunDirectory
    from tinyml.target import load_target
    from tinyml.training import TrainingSettings, train_baseline, training_facts

    name = recipe or "int8"
    job_recipe, job_target, task = load_recipe(name), load_target(target), load_task("digits")
    job = Job(checkpoint=None, model=MODEL, recipe=job_recipe, target=job_target, task=task)
    prepare(job)  # what would be refused after the training is refused before it
    RunDirectory.check(output, overwrite=overwrite, resume=False, fingerprint={})
    output.parent.mkdir(parents=True, exist_ok=True)
    checkpoint = output.with_name(f"{output.name}-trained.safetensors")
    check_output_file(checkpoint, overwrite=overwrite)
    settings = TrainingSettings()
    say = messages().print
    with show_progress() as progress:
        say(f"training {MODEL} on the digits for {settings.epochs} epochs")
        module = train_baseline(MODEL, {}, task, settings, progress)
        save_trained(checkpoint, module, training_facts(MODEL, {}, task, settings))
        say(f"compressing {checkpoint} with {job_recipe.name} for {job_target.name}")
        words = ["tinyml", "compress", str(checkpoint), "--model", MODEL, "--data", "digits"]
        words += ["--recipe", name, "--target", target, "-o", str(output)]
        job = replace(job, checkpoint=checkpoint, command=shlex.join(words))
        outcome = compress(job, output, overwrite=overwrite, progress=progress)
    show_outcome(outcome, as_json=as_json)
    outcome.require_gates()
