"""Everything that a training needs to go on after an interruption, as bytes.

They are a safetensors file with JSON and a SHA-256 in its header: reading a state runs no code, and sees a flipped bit.
"""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Protocol

import torch

from tinyml import __version__
from tinyml.checkpoint.safetensors_file import from_safetensors, to_safetensors
from tinyml.errors import CheckpointError, UsageError
from tinyml.training.result import EpochRecord
from tinyml.training.settings import TrainingSettings
from tinyml.training.weights import Tensors

Identity = Mapping[str, str | int | float | bool]
"""What a run depends on, by name. A state is continued only by a run that has the same."""

_KEY = "training_state"


class StateStore(Protocol):
    """Keeps one state of one training; `save` replaces the one before it, atomically."""

    def load(self) -> bytes | None:
        """Return the bytes saved last, or None where there are none."""
        ...

    def save(self, state: bytes) -> None:
        """Keep the bytes."""
        ...


@dataclass(frozen=True, kw_only=True)
class TrainingState:
    """A training after some step.

    Attributes:
        identity: What the run depends on.
        step: Steps done.
        loss_sum: The sum of the losses of the current epoch's steps.
        seconds: Time spent on the current epoch's steps.
        history: The epochs that are over.
        tensors: By "kind/name": the module's tensors, the optimizer's, the averaged and the best ones, and what the
            scale of the losses has come to.
    """

    identity: Identity
    step: int
    loss_sum: float
    seconds: float
    history: tuple[EpochRecord, ...]
    tensors: Tensors


def to_bytes(state: TrainingState) -> bytes:
    """Return the state as bytes that `from_bytes` reads."""
    facts = {
        "identity": dict(state.identity),
        "step": state.step,
        "loss_sum": state.loss_sum,
        "seconds": state.seconds,
        "history": [asdict(record) for record in state.history],
    }
    return to_safetensors(state.tensors, {_KEY: json.dumps(facts)})


def from_bytes(data: bytes) -> TrainingState:
    """Return the state that the bytes hold.

    Raises:
        CheckpointError: The bytes are damaged, or no state.
    """
    try:
        tensors, metadata = from_safetensors(data)
    except CheckpointError as error:
        raise CheckpointError("the saved training state is damaged: train from the start (--overwrite)") from error
    try:
        facts = json.loads(metadata[_KEY])
        history = tuple(EpochRecord(**record) for record in facts.pop("history"))
        return TrainingState(tensors=tensors, history=history, **facts)
    except (KeyError, ValueError, TypeError) as error:
        raise CheckpointError("the saved training state is not one that this version wrote: remove it") from error


def run_identity(
    settings: TrainingSettings, data_fingerprint: str, weights: str, *, device: str, processes: int
) -> Identity:
    """Return what the end of a run depends on: settings, data, first weights, versions, threads, processes, device."""
    return {
        **{f"setting {name}": value for name, value in settings.as_json().items()},
        "data": data_fingerprint,
        "weights at the start": weights,
        "device": device,
        "threads": torch.get_num_threads(),
        "processes": processes,
        "torch version": torch.__version__,
        "tinyml version": __version__,
    }


def check_identity(saved: Identity, current: Identity) -> None:
    """Raise unless a saved state belongs to the current run.

    Raises:
        UsageError: Something differs; every difference is named with both values.
    """
    names = sorted({*saved, *current})
    changed = [
        f"{name} was {_short(saved.get(name, 'not set'))}, is {_short(current.get(name, 'not set'))}"
        for name in names
        if saved.get(name) != current.get(name)
    ]
    if changed:
        raise UsageError(
            "the training cannot be resumed, because it would not end as it began: "
            + "; ".join(changed)
            + ". Undo the change, or train from the start"
        )


def _short(value: str | float) -> str:
    """Return the value as text, cut where it is a digest."""
    text = str(value)
    return text if len(text) <= 40 else f"{text[:12]}..."
