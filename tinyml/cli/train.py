"""`tinyml train`: a baseline from fresh weights."""

import os
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import click

from tinyml.cli import options
from tinyml.torchrun import launch
from tinyml.yaml_syntax import JSON

if TYPE_CHECKING:
    from torch import nn

    from tinyml.data import Task
    from tinyml.training import TrainingResult, TrainingSettings

Optimizer = Literal["sgd", "adamw"]
Precision = Literal["float32", "bfloat16", "float16"]

# All cores that this process may use: unlike a measurement, a training gains from each of them.
THREADS = max(1, len(os.sched_getaffinity(0)) // launch().local_world_size)


@options.verb("tinyml train --model lenet-digits --data digits -o lenet.safetensors")
@options.model()
@options.model_args
@options.data(required=True)
@options.output("the trained checkpoint (.safetensors)")
@click.option("--epochs", type=int, default=30, show_default=True, help="Passes over the train split.")
@click.option("--batch-size", type=int, default=64, show_default=True, help="Images per step, of each process.")
@click.option(
    "--optimizer", type=click.Choice(["sgd", "adamw"]), default="sgd", show_default=True, help="SGD has momentum 0.9."
)
@click.option("--learning-rate", type=float, help="The highest learning rate.  [default: 0.1 for sgd, 0.002 for adamw]")
@click.option("--weight-decay", type=float, default=5e-4, show_default=True, help="Of weights, not of biases.")
@click.option("--warmup", type=float, default=0.05, show_default=True, help="Share of the run in which the rate rises.")
@click.option("--label-smoothing", type=float, default=0.1, show_default=True, help="Share spread over all classes.")
@click.option("--gradient-clip", type=float, default=0.0, show_default=True, help="Largest gradient norm; 0: any.")
@click.option("--ema", type=float, default=0.0, show_default=True, help="Decay of averaged weights; 0: none.")
@click.option("--channels-last/--no-channels-last", default=True, show_default=True, help="Memory layout of images.")
@click.option(
    "--precision",
    type=click.Choice(["float32", "bfloat16", "float16"]),
    default="float32",
    show_default=True,
    help="Of the arithmetic; weights and scores stay float32.",
)
@options.seed()
@options.threads(THREADS)
@options.device
@options.overwrite
@options.resume
@options.as_json
@options.parallel
def command(
    model: str,
    model_args: dict[str, JSON],
    data: str,
    output: Path,
    epochs: int,
    batch_size: int,
    optimizer: Optimizer,
    learning_rate: float | None,
    weight_decay: float,
    warmup: float,
    label_smoothing: float,
    gradient_clip: float,
    ema: float,
    channels_last: bool,
    precision: Precision,
    seed: int,
    threads: int,
    device: str,
    overwrite: bool,
    resume: bool,
    as_json: bool,
) -> None:
    """Train a model from fresh weights and write the weights of its best epoch, chosen on validation data.

    The test split is measured once, at the end. An interrupted training continues with --resume to the same bytes.
    `torchrun --nproc-per-node 2 -m tinyml train ...` trains in several processes, whose batches make one.
    """
    import torch

    from tinyml.cli.training_summary import show_training
    from tinyml.data import load_task
    from tinyml.training import LEARNING_RATES, TrainingSettings, find_device, fresh_module, training_facts

    settings = TrainingSettings(
        epochs=epochs,
        batch_size=batch_size,
        optimizer=optimizer,
        learning_rate=LEARNING_RATES[optimizer] if learning_rate is None else learning_rate,
        weight_decay=weight_decay,
        warmup=warmup,
        label_smoothing=label_smoothing,
        gradient_clip=gradient_clip,
        ema_decay=ema,
        channels_last=channels_last,
        precision=precision,
        seed=seed,
    )
    if launch().leads:
        _check_output(output, overwrite=overwrite, resume=resume)
    device = str(find_device(device))
    torch.set_num_threads(threads)
    task = load_task(data)
    module = fresh_module(model, model_args, seed=seed)
    facts = training_facts(model, model_args, task, settings)
    result = _train_and_save(module, task, settings, facts, output=output, device=device, resume=resume)
    if launch().leads:
        show_training(module, task, settings, result, output=output, as_json=as_json)


def _state_path(output: Path) -> Path:
    return output.with_name(f"{output.name}.resume")


def _check_output(output: Path, *, overwrite: bool, resume: bool) -> None:
    """Refuse an output that cannot be written, or that would replace something nobody said to replace."""
    from tinyml.errors import OutputError, UsageError
    from tinyml.files import check_output_file

    if output.suffix != ".safetensors":
        raise UsageError(f"the output '{output}' must end in .safetensors")
    check_output_file(output, overwrite=overwrite)
    state = _state_path(output)
    if state.exists() and not (overwrite or resume):
        raise OutputError(
            f"an interrupted training left '{state}': continue it with --resume, or start anew with --overwrite"
        )


def _train_and_save(
    module: "nn.Module",
    task: "Task",
    settings: "TrainingSettings",
    facts: dict[str, str],
    *,
    output: Path,
    device: str,
    resume: bool,
) -> "TrainingResult":
    """Train, write the checkpoint and forget the state; on an interruption say how to go on."""
    from tinyml.checkpoint import save_trained
    from tinyml.cli.console import messages, show_progress
    from tinyml.training import DivergenceError, StateFile, joined, train

    store = StateFile(_state_path(output))
    leads = launch().leads
    if not resume and leads:
        store.remove()
    try:
        with show_progress() as progress, joined() as processes:
            processes.meet()
            result = train(module, task, settings, progress=progress, store=store, device=device, processes=processes)
    except DivergenceError as error:
        if not leads:
            raise
        store.remove()  # continuing would diverge again
        if error.result.best_epoch:
            save_trained(output, module, {**facts, "best_epoch": str(error.result.best_epoch), "diverged": str(error)})
            messages().print(f"The weights of epoch {error.result.best_epoch} are in {output}.", markup=False)
        raise
    except KeyboardInterrupt:
        if store.path.exists():
            messages().print("The same command with --resume continues this training.", markup=False)
        raise
    if leads:
        save_trained(output, module, {**facts, "best_epoch": str(result.best_epoch)})
        store.remove()
    return result
