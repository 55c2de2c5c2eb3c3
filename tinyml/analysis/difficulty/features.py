"""Pooled features of all examples, for as many places at a time as fit into a given memory.

The first place is the input itself.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final, final

import torch
from torch import Tensor
from torch.nn.utils import parametrize

from tinyml.analysis.difficulty.places import OUTPUT, Place, Read, Reader
from tinyml.analysis.difficulty.pooling import input_features
from tinyml.data import Task
from tinyml.errors import UsageError
from tinyml.progress import Progress
from tinyml.training.evaluation import NonFiniteError

INPUT: Final = "(input)"
TRAIN: Final = "train"
_MIB: Final = 2**20


@final
@dataclass(frozen=True, kw_only=True, eq=False)
class Collected:
    """What a network computes for a split.

    Attributes:
        outputs: float32 (N, classes).
        features: float32 (N, F) by the name of the place.
    """

    outputs: Tensor
    features: dict[str, Tensor]


def all_places(reader: Reader, task: Task) -> tuple[Place, ...]:
    """Return the input, and the places of a network behind it."""
    example = task.splits[TRAIN].x[:1]
    return (Place(name=INPUT, layers=(), features=input_features(example).shape[1], order=-1), *reader.places)


def groups_of(places: Sequence[Place], task: Task, memory_bytes: int) -> list[list[Place]]:
    """Return the places in groups, in their order, whose features fit into memory together.

    Beside the features of all examples in a group there is a copy of the train split's, of one place at a time.

    Raises:
        UsageError: Those of one place alone do not fit.
    """
    examples, train = sum(map(len, task.splits.values())), len(task.splits[TRAIN])
    groups: list[list[Place]] = []
    held = largest_copy = 0
    for place in places:
        own, copy = 4 * place.features * examples, 4 * place.features * train
        if own + copy > memory_bytes:
            raise UsageError(_too_large(place, examples, train, memory_bytes))
        if not groups or held + own + max(largest_copy, copy) > memory_bytes:
            groups.append([])
            held = largest_copy = 0
        groups[-1].append(place)
        held, largest_copy = held + own, max(largest_copy, copy)
    return groups


def collect(
    reader: Reader, task: Task, places: Sequence[Place], *, batch_size: int, progress: Progress
) -> dict[str, Collected]:
    """Return what the network computes at the places, by split; features stay on the CPU.

    Raises:
        NonFiniteError: A value is not.
        TinymlError: The network calls a layer for some inputs only.
    """
    names = [place.name for place in places if place.name != INPUT]
    total = sum(-(-len(split) // batch_size) for split in task.splits.values())
    found = {name: _room(places, len(split), len(task.classes)) for name, split in task.splits.items()}
    with torch.inference_mode(), parametrize.cached():
        for split, rows in progress.track(_batches(task, batch_size), label="features", total=total):
            x = task.splits[split].x[rows]
            read = reader.read(torch.from_numpy(task.inputs(x)), names)
            _check_finite(read, split)
            found[split].outputs[rows] = read.outputs.cpu()
            if len(names) < len(places):
                read.features[INPUT] = input_features(x)
            for name, values in read.features.items():
                found[split].features[name][rows] = values.cpu()
    return found


def _room(places: Sequence[Place], examples: int, classes: int) -> Collected:
    """Return tensors to be filled: made once, since many small ones would scatter the memory."""
    features = {place.name: torch.empty(examples, place.features) for place in places}
    return Collected(outputs=torch.empty(examples, classes), features=features)


def _batches(task: Task, batch_size: int) -> Iterator[tuple[str, slice]]:
    for name, split in task.splits.items():
        for start in range(0, len(split), batch_size):
            yield name, slice(start, start + batch_size)


def _check_finite(read: Read, split: str) -> None:
    for name, values in {**read.features, OUTPUT: read.outputs}.items():
        if not bool(torch.isfinite(values).all()):
            raise NonFiniteError(f"the network gives NaN or infinity at '{name}' for examples of {split}")


def _too_large(place: Place, examples: int, train: int, memory_bytes: int) -> str:
    needed = 4 * place.features * (examples + train)
    text = (
        f"the {place.features:,} features of '{place.name}' for {examples:,} examples take {-(-needed // _MIB):,} MiB; "
        f"--memory-mb allows {memory_bytes // _MIB:,}: give --memory-mb {-(-needed // _MIB)}"
    )
    fitting = (memory_bytes // (4 * place.features) - (examples - train)) // 2
    return f"{text}, or --images {fitting} to take so many of train" if fitting > 1 else text
