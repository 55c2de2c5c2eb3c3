"""One job: everything that the bytes of its result depend on."""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

import torch
from pydantic import JsonValue

from tinyml.checkpoint import ARCHITECTURE_NAME, read_architecture
from tinyml.data import Task
from tinyml.errors import DataError, ModelError, RecipeError
from tinyml.files import sha256_of
from tinyml.manifest import MANIFEST_NAME
from tinyml.measure.inputs import evaluation_split
from tinyml.passes.fine_tuning import Distillation, FineTuning
from tinyml.pipeline.code_version import code_facts
from tinyml.recipe import Recipe, recipe_facts
from tinyml.runtime.probe import installed_packages
from tinyml.target import Target, target_yaml
from tinyml.torchrun import launch
from tinyml.training.devices import find_device


@dataclass(frozen=True, kw_only=True)
class Job:
    """What to compress, how, for what.

    Attributes:
        checkpoint: a checkpoint file or a sealed run directory; None for fresh random weights.
        model: zoo name or 'package.module:factory'; "" where the checkpoint is a run directory, which knows.
        recipe: the passes, the gates, and the seed of everything random.
        input_shape: of one input without the batch; () to take the task's or the zoo's.
        threads: of onnxruntime, while verifying and measuring; torch computes with the threads it is set to.
        device: where torch computes: 'cpu' or 'cuda[:i]'.
        command: the command line, for the report.
    """

    checkpoint: Path | None
    model: str
    model_args: Mapping[str, JsonValue] = field(default_factory=dict)
    recipe: Recipe
    target: Target
    task: Task | None = None
    input_shape: tuple[int, ...] = ()
    threads: int = 1
    device: str = "cpu"
    command: str = ""

    @property
    def seed(self) -> int:
        """Start of every random choice: the recipe's."""
        return self.recipe.seed

    @property
    def inputs(self) -> tuple[Path, ...]:
        """The files and directories that the job reads; nothing writes over them."""
        return (*((self.checkpoint,) if self.checkpoint is not None else ()), *self.recipe.files)

    def check(self) -> None:
        """Refuse, before any work, what can be known to fail.

        Raises:
            Refused: of the kind that fits.
        """
        find_device(self.device)
        if self.task is not None:
            evaluation_split(self.task)
        if self.recipe.export.input == "uint8" and (self.task is None or not self.task.mean):
            raise DataError("export.input: uint8 needs uint8 images with mean and std: give --data with a card of such")
        if self.recipe.gates.max_drop_points is not None and (self.task is None or self.task.test is None):
            raise DataError("gates.max_drop_points needs a test split to measure accuracy on: give --data")
        if (
            self.recipe.gates.max_drop_points is not None
            and self.task is not None
            and self.task.kind != "classification"
        ):
            raise RecipeError(
                f"gates.max_drop_points is for classification; task '{self.task.name}' is {self.task.kind}"
            )
        if self.checkpoint is None and not self.model:
            raise ModelError("random weights need --model: a zoo name (tinyml models) or package.module:factory")

    def fingerprint(self) -> dict[str, str]:
        """Return what the result depends on, by name; a resumed run must have the same."""
        return {
            "checkpoint": _hash_of(self.checkpoint) if self.checkpoint is not None else "random",
            "model": self.model,
            "model arguments": repr(sorted(self.model_args.items())),
            "input shape": ",".join(map(str, self.input_shape)),
            **{f"recipe's {name}": value for name, value in recipe_facts(replace(self.recipe, seed=0)).items()},
            **{f"file '{path}'": _hash_of(path) for path in self.recipe.files},
            "target": f"{self.target.name} ({_digest(target_yaml(self.target))[:12]})",
            "data": f"{self.task.name} ({self.task.fingerprint[:16]})" if self.task is not None else "none",
            "seed": str(self.seed),
            "threads": f"{self.threads} runtime, {torch.get_num_threads()} torch",
            "processes": str(launch().world_size),
            "device": self.device,
            **code_facts(_models_of(self)),
            **{f"version of {package}": number for package, number in installed_packages().items()},
        }


def _models_of(job: Job) -> list[str]:
    """Return the names of the models that take part: the job's own, and its teachers'."""
    folders = [path for path in job.inputs if (path / ARCHITECTURE_NAME).exists()]
    entries = [entry.settings for entry in job.recipe.passes]
    distillations = [settings.distill for settings in entries if isinstance(settings, FineTuning)]
    teachers = [distill.teacher_model for distill in distillations if isinstance(distill, Distillation)]
    return [job.model, *teachers, *(read_architecture(folder).model for folder in folders)]


def _hash_of(source: Path) -> str:
    """Return the hash of a file, or of the file in a directory that holds the hashes of the others."""
    if not source.is_dir():
        return sha256_of(source)
    manifest = source / MANIFEST_NAME
    return sha256_of(manifest if manifest.exists() else source / ARCHITECTURE_NAME)


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()
