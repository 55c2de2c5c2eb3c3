"""The probes of all places for the examples of all splits, resumable place by place.

A probe gives an example the class that most of its k nearest neighbours among the train split have; an example of
train is not its own neighbour.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, final

import numpy as np
import torch
from torch import Tensor

from tinyml.analysis.difficulty.examples import Examples
from tinyml.analysis.difficulty.features import TRAIN, Collected, collect, groups_of
from tinyml.analysis.difficulty.places import Place, Reader
from tinyml.checkpoint.safetensors_file import from_safetensors, to_safetensors
from tinyml.data import Task
from tinyml.numerics.nearest_neighbours import Metric, majority_vote, nearest_neighbours
from tinyml.progress import Progress
from tinyml.training import StateStore

NEIGHBOURS: Final = 30  # Baldock et al. 2021, section 2


@final
@dataclass(frozen=True, kw_only=True)
class ProbeSettings:
    """How examples are probed; prediction depths depend on the first four.

    Attributes:
        neighbours: k.
        metric: of the distance between features.
        side: features are the means of side x side regions of an image; 1 for the mean of all.
        layers: glob patterns of places; the input and the output are always probed.
        memory_bytes: that features may take at a time.
        batch_size: examples a forward.
        device: where torch computes.
    """

    neighbours: int = NEIGHBOURS
    metric: Metric = "euclidean"
    side: int = 2
    layers: tuple[str, ...] = ("*",)
    memory_bytes: int = 2**30
    batch_size: int = 500
    device: str = "cpu"


def probed(
    reader: Reader,
    task: Task,
    places: tuple[Place, ...],
    settings: ProbeSettings,
    *,
    store: StateStore | None,
    progress: Progress,
) -> dict[str, Examples]:
    """Return all examples with what the probes give them, by split.

    Args:
        reader: of the network.
        task: with a train split.
        places: to probe, from the input to the output.
        settings: how.
        store: where what is known so far is kept against a kill.
        progress: told of every place.

    Raises:
        UsageError: The features of one place do not fit into memory.
        NonFiniteError: The network gives NaN or infinity.
        TinymlError: It calls a layer for some inputs only.
    """
    known = _saved(store)
    missing = [place for place in places if _key("probe", place.name, TRAIN) not in known]
    for group in groups_of(missing, task, settings.memory_bytes):
        collected = collect(reader, task, group, batch_size=settings.batch_size, progress=progress)
        known |= _answers(collected)
        for place in progress.track(group, label="probes", total=len(places), done=places.index(group[0])):
            progress.status(place.name)
            for split, classes in _probe(collected, place, task, settings).items():
                known[_key("probe", place.name, split)] = classes
            _save(store, known)
    return {
        name: Examples(
            source=split.source,
            indices=np.arange(len(split)),
            labels=split.y,
            predictions=known[_key("answers", "", name)].numpy(),
            margins=known[_key("margins", "", name)].numpy(),
            probes=torch.stack([known[_key("probe", place.name, name)] for place in places]).numpy(),
        )
        for name, split in task.splits.items()
    }


def _probe(collected: dict[str, Collected], place: Place, task: Task, settings: ProbeSettings) -> dict[str, Tensor]:
    """Return the classes (N,) that a place's probe gives, by split; its features are dropped."""
    features = {split: each.features.pop(place.name).to(settings.device) for split, each in collected.items()}
    references, labels = features[TRAIN], torch.from_numpy(task.splits[TRAIN].y).to(settings.device)
    found = {}
    for split, queries in features.items():
        own = torch.arange(len(queries), device=queries.device) if split == TRAIN else None
        near = nearest_neighbours(queries, references, settings.neighbours, metric=settings.metric, own=own)
        found[split] = majority_vote(labels[near], len(task.classes)).cpu()
    return found


def _answers(collected: Mapping[str, Collected]) -> dict[str, Tensor]:
    """Return the network's answers (N,) and margins (N,), by their keys."""
    known = {}
    for split, each in collected.items():
        best = each.outputs.topk(2, dim=1).values
        known[_key("answers", "", split)] = each.outputs.argmax(dim=1)
        known[_key("margins", "", split)] = best[:, 0] - best[:, 1]
    return known


def _key(*parts: str) -> str:
    return json.dumps(parts)


def _saved(store: StateStore | None) -> dict[str, Tensor]:
    state = store.load() if store is not None else None
    return from_safetensors(state)[0] if state is not None else {}


def _save(store: StateStore | None, known: Mapping[str, Tensor]) -> None:
    if store is not None:
        store.save(to_safetensors(known, {}))
