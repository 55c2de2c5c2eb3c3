"""From the name of a model to a trained one, and what its file says about how it came to be."""

import json
from collections.abc import Mapping, Sequence

import torch
from pydantic import JsonValue
from torch import nn

from tinyml import __version__
from tinyml.data import Task
from tinyml.models import create_model
from tinyml.progress import Progress
from tinyml.torchrun import launch
from tinyml.training.loop import EpochHook, train
from tinyml.training.settings import TrainingSettings


def fresh_module(model: str, model_args: Mapping[str, JsonValue], *, seed: int) -> nn.Module:
    """Return a new module of a model whose first weights are drawn by the seed; torch's own generator stays as it was.

    Raises:
        ModelError: The model is unknown or does not build.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return create_model(model, model_args)


def train_baseline(
    model: str,
    model_args: Mapping[str, JsonValue],
    task: Task,
    settings: TrainingSettings,
    progress: Progress,
    *,
    on_epoch: Sequence[EpochHook] = (),
) -> nn.Module:
    """Return a model trained on a task from fresh weights, in evaluation mode, with the weights of its best epoch.

    Raises:
        ModelError: The model is unknown, does not build, or does not fit the task.
        DataError: There is no train split.
        UsageError: A batch is larger than the train split.
        DivergenceError: A loss, gradient or weight is not finite.
    """
    module = fresh_module(model, model_args, seed=settings.seed)
    train(module, task, settings, progress=progress, on_epoch=on_epoch)
    return module


def training_facts(
    model: str, model_args: Mapping[str, JsonValue], task: Task, settings: TrainingSettings
) -> dict[str, str]:
    """Return the metadata of a trained file, as text: model, data, settings, threads, versions; no times or paths."""
    return {
        "model": model,
        "model_args": json.dumps(dict(model_args), sort_keys=True),
        "data": task.name,
        "data_fingerprint": task.fingerprint,
        "settings": json.dumps(settings.as_json(), sort_keys=True),
        "threads": str(torch.get_num_threads()),
        "processes": str(launch().world_size),
        "tinyml_version": __version__,
        "torch_version": torch.__version__,
    }
