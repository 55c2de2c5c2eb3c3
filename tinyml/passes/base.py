"""What a pass is: settings as fields, then requires -> apply -> ensures on its own copy of the model."""

import copy
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, Literal

from torch import nn

from tinyml.architecture import Architecture, Edit
from tinyml.data import Task
from tinyml.graph.capture import LeftAlone
from tinyml.progress import Progress
from tinyml.target import Target

Role = Literal["prune", "quantize", "exit", "train", "cast"]


@dataclass(frozen=True, kw_only=True)
class Compressed:
    """A model on its way: the module that runs as it will ship, how to rebuild it, and what passes left alone."""

    module: nn.Module
    architecture: Architecture
    left_alone: tuple[LeftAlone, ...] = ()

    def copy(self) -> "Compressed":
        """Return the same with a module of its own."""
        return Compressed(module=copy.deepcopy(self.module), architecture=self.architecture, left_alone=self.left_alone)

    def edited(self, module: nn.Module, edits: Sequence[Edit], left_alone: Sequence[LeftAlone] = ()) -> "Compressed":
        """Return the model after the edits, which have been applied to `module` already."""
        architecture = self.architecture.model_copy(update={"edits": (*self.architecture.edits, *edits)})
        return Compressed(module=module, architecture=architecture, left_alone=(*self.left_alone, *left_alone))


@dataclass(frozen=True, kw_only=True)
class Context:
    """What every pass is handed."""

    task: Task | None
    target: Target
    teacher: nn.Module
    seed: int
    device: str
    progress: Progress


@dataclass(frozen=True, kw_only=True)
class Pass(ABC):
    """One transformation. Its fields are its keys in a recipe."""

    role: ClassVar[Role]

    @abstractmethod
    def requires(self, model: Compressed, context: Context) -> None:
        """Raise a Refused error when the pass cannot work on this model, target or data; cheap, before any work."""

    @abstractmethod
    def apply(self, model: Compressed, context: Context) -> Compressed:
        """Return the transformed model; the one given stays as it was."""

    @abstractmethod
    def ensures(self, before: Compressed, after: Compressed) -> None:
        """Raise a TinymlError when the result does not keep what the pass promises."""
