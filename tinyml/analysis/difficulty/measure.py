"""From a network and its data to the difficulty of all examples."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from fnmatch import fnmatchcase
from typing import Final, final

import numpy as np
from numpy.typing import NDArray
from torch import nn

from tinyml.analysis.difficulty.c_score import CScoreSettings, c_scores, check_c_score
from tinyml.analysis.difficulty.examples import Examples
from tinyml.analysis.difficulty.exits import exit_places, ranked_exits
from tinyml.analysis.difficulty.features import INPUT, TRAIN, all_places, groups_of
from tinyml.analysis.difficulty.places import OUTPUT, Place, Reader, reader_of
from tinyml.analysis.difficulty.probes import ProbeSettings, probed
from tinyml.analysis.difficulty.summary import Summary, c_score_summary, probed_layers, split_summary
from tinyml.data import Task
from tinyml.errors import DataError, UsageError
from tinyml.graph.name_patterns import pattern_fault
from tinyml.passes import Compressed
from tinyml.progress import Progress
from tinyml.training import StateStore, fresh_module

_UNTRACED: Final = (
    "the network cannot be traced: features are what its layers return, before BatchNorm and activation, and no exits "
    "are suggested"
)


@final
@dataclass(frozen=True, kw_only=True)
class Request:
    """What to look at.

    Attributes:
        model: the network.
        task: the data, with a train split.
        settings: of the probes.
        images: examples of train to take, drawn by the seed; None for all.
        seed: of that draw.
        c_score: trainings for C-scores; None for none.
    """

    model: Compressed
    task: Task
    settings: ProbeSettings
    images: int | None = None
    seed: int = 0
    c_score: CScoreSettings | None = None


@final
@dataclass(frozen=True, kw_only=True, eq=False)
class Difficulty:
    """What was found.

    Attributes:
        summary: of all examples.
        examples: one by one, by split.
        c_scores: (N,) of the train split; None where they were not asked for.
    """

    summary: Summary
    examples: dict[str, Examples]
    c_scores: NDArray[np.float64] | None


@final
class Work:
    """A request that was looked at and can be done.

    Attributes:
        places: that will be probed.
    """

    def __init__(self, request: Request) -> None:
        """Make the network ready.

        Raises:
            DataError: There is no train split, or it or the task is not one to classify.
            UsageError: There are too few examples or too many, a pattern matches no layer, or the features of a place
                are too large.
        """
        self._request = request
        self._task, self._rows = _with_images(request)
        _check(self._task, request)
        settings, shape = request.settings, self._task.input_shape
        self._reader = reader_of(request.model.module, shape, side=settings.side, device=settings.device)
        self.places = _wanted(all_places(self._reader, self._task), settings.layers)
        groups_of(self.places, self._task, settings.memory_bytes)  # refuses what does not fit

    def measure(self, *, store: StateStore | None, c_store: StateStore | None, progress: Progress) -> Difficulty:
        """Return the difficulty of all examples.

        Args:
            store: where what the probes tell is kept against a kill.
            c_store: where finished trainings for C-scores are.
            progress: told of every layer and training.

        Raises:
            NonFiniteError: The network gives NaN or infinity.
            TinymlError: It calls a layer for some inputs only.
            DivergenceError: A training left the finite numbers.
        """
        request = self._request
        examples = probed(self._reader, self._task, self.places, request.settings, store=store, progress=progress)
        examples[TRAIN] = replace(examples[TRAIN], indices=self._rows)
        scores = None
        if request.c_score is not None:
            scores = c_scores(self._fresh, self._task, request.c_score, store=c_store, progress=progress)
        return Difficulty(summary=self._summary(examples, scores), examples=examples, c_scores=scores)

    def _fresh(self, seed: int) -> nn.Module:
        architecture = self._request.model.architecture
        return fresh_module(architecture.model, architecture.model_args, seed=seed)

    def _summary(self, examples: dict[str, Examples], scores: NDArray[np.float64] | None) -> Summary:
        request, settings = self._request, self._request.settings
        summary = Summary(
            model=request.model.architecture.model,
            data=request.task.name,
            neighbours=settings.neighbours,
            metric=settings.metric,
            side=settings.side,
            layers=probed_layers(self.places),
            splits={name: split_summary(each) for name, each in examples.items()},
            left_alone=self._reader.left_alone,
        )
        if scores is not None and request.c_score is not None:
            runs, epochs = request.c_score.runs, request.c_score.epochs
            summary = replace(summary, c_score=c_score_summary(scores, examples[TRAIN], runs=runs, epochs=epochs))
        return _with_exits(summary, request, self._reader, self.places, examples)


def _with_exits(
    summary: Summary, request: Request, reader: Reader, places: Sequence[Place], examples: dict[str, Examples]
) -> Summary:
    """Return the summary with places for exits, ranked on validation data, or with a note why there are none."""
    if reader.graph is None:
        return replace(summary, notes=(*summary.notes, _UNTRACED))
    if isinstance(reader.graph.graph.output_node().args[0], tuple | list):
        return replace(summary, notes=(*summary.notes, "no exits are suggested: the network has some"))
    split = "validation" if "validation" in examples else TRAIN
    all_exits = exit_places(reader.graph, request.task.input_shape, places, examples[split].depths)
    if not all_exits:
        return replace(summary, notes=(*summary.notes, "no exits are suggested: no value carries the whole network"))
    return replace(summary, exits=ranked_exits(all_exits), exits_from=split)


def _with_images(request: Request) -> tuple[Task, NDArray[np.int64]]:
    """Return the task with as many examples of train as were asked for, and their rows."""
    task = request.task
    if task.train is None:
        raise DataError(
            f"the data '{task.name}' has no train split, and neighbours are looked for in what the network learned "
            "from: name it in the card ('train: FILE')"
        )
    count = len(task.train)
    if request.images is None:
        return task, np.arange(count)
    if request.images > count:
        raise UsageError(f"--images is {request.images:,}, but the train split of '{task.name}' has {count:,}")
    rows = np.sort(np.random.default_rng(request.seed).permutation(count)[: request.images])
    fewer = task.train.take(rows, f"{request.images:,} drawn from {task.train.source}")
    return replace(task, train=fewer, fingerprint=""), rows


def _check(task: Task, request: Request) -> None:
    """Refuse what has no depth."""
    if task.kind != "classification":
        raise DataError(f"prediction depth is for classification; task '{task.name}' is {task.kind}")
    labels, k = task.splits[TRAIN].y, request.settings.neighbours
    if len(np.unique(labels)) < 2:
        raise DataError(
            f"all {len(labels):,} examples of {task.splits[TRAIN].source} are of the class "
            f"'{task.classes[labels[0]]}': a probe needs two classes to tell apart"
        )
    if k > len(labels) - 1:
        raise UsageError(
            f"--neighbours is {k}, but there are {len(labels):,} examples of train to look among, and none is its own "
            f"neighbour: at most {len(labels) - 1:,} are allowed"
        )
    if request.c_score is not None:
        check_c_score(task)


def _wanted(places: tuple[Place, ...], patterns: Sequence[str]) -> tuple[Place, ...]:
    """Return the input, the places of the layers that match a pattern, and the output."""
    ends = (INPUT, OUTPUT)
    names = [layer for place in places for layer in place.layers]
    for pattern in patterns:
        fault = pattern_fault(pattern, names, kind="layer")
        if fault and pattern != "*":
            raise UsageError(f"--layers: {fault}")
    return tuple(
        place
        for place in places
        if place.name in ends or any(fnmatchcase(layer, each) for layer in place.layers for each in patterns)
    )
