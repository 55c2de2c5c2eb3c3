"""What a pass is: settings as fields, then requires -> apply -> ensures on its own copy of the model."""

import copy
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar, Literal

from pydantic import JsonValue
from torch import nn

from tinyml.architecture import Architecture, Edit
from tinyml.data import Task
from tinyml.graph.capture import LeftAlone
from tinyml.passes.checked_settings import check_settings
from tinyml.progress import Progress
from tinyml.target import Target
from tinyml.training import ALONE, Processes, StateStore

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


def _unrecorded(facts: Mapping[str, JsonValue]) -> None:
    """Forget the facts: nobody keeps a history."""


@dataclass(frozen=True, kw_only=True)
class Context:
    """What every pass is handed.

    Attributes:
        task: the data; None where the job has none.
        target: what the file is made for.
        teacher: the uncompressed network at the root of the chain, in eval mode; not to be changed.
        seed: of everything random.
        device: where torch computes: 'cpu' or 'cuda[:i]'.
        threads: of onnxruntime, where a pass measures.
        progress: told of long work.
        store: where long work keeps its state against a kill; None keeps none.
        record: adds one line of facts to the history of the run.
        processes: those that apply a pass of role "train" together; other passes are applied by the first one alone.
    """

    task: Task | None
    target: Target
    teacher: nn.Module
    seed: int
    device: str
    progress: Progress
    threads: int = 1
    store: StateStore | None = None
    record: Callable[[Mapping[str, JsonValue]], None] = _unrecorded
    processes: Processes = ALONE


@dataclass(frozen=True, kw_only=True)
class Pass(ABC):
    """One transformation. Its fields are its keys in a recipe; their types hold where Python makes it, too."""

    role: ClassVar[Role]

    def __post_init__(self) -> None:
        """Refuse values that do not fit their fields; a pass whose settings may contradict each other calls this first.

        Raises:
            RecipeError: naming every field whose value is not allowed.
        """
        check_settings(self)

    @abstractmethod
    def requires(self, model: Compressed, context: Context) -> None:
        """Raise a Refused error when the pass cannot work on this model, target or data; cheap, before any work."""

    @abstractmethod
    def apply(self, model: Compressed, context: Context) -> Compressed:
        """Return the transformed model; the one given stays as it was."""

    @abstractmethod
    def ensures(self, before: Compressed, after: Compressed) -> None:
        """Raise a TinymlError when the result does not keep what the pass promises."""
