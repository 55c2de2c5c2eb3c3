"""Score of the file that ships, in the session it ships to, with the number of examples and a 95 % interval."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Final, final

import numpy as np
from numpy.typing import NDArray

from tinyml.data.roc import roc_auc
from tinyml.data.split import Split
from tinyml.data.task import Task, reconstruction_errors
from tinyml.errors import DataError
from tinyml.measure.inputs import evaluation_split, network_inputs
from tinyml.measure.measurement import Measurement
from tinyml.measure.statistics import area_under_roc_interval, paired_difference_interval, wilson_interval
from tinyml.progress import Progress
from tinyml.runtime.one_by_one import answer_each, takes_exits
from tinyml.runtime.session import Session, logits

_BATCH: Final = 64


@final
@dataclass(frozen=True, kw_only=True)
class Scores:
    """What a classifier made of every example of the split: run once, for all metrics that need it.

    Attributes:
        right: whether its largest logit is the label's (N,), in the order of the split.
        not_finite: number of examples with a logit that is NaN or infinite; they are not right.
        source: where the examples come from.
        taken: the exit (N,) at which each left, of a network with exits; empty for others.
    """

    right: NDArray[np.bool_]
    not_finite: int
    source: Mapping[str, float | int | str]
    taken: NDArray[np.int64] = field(default_factory=lambda: np.empty(0, np.int64))


def score(session: Session, task: Task, progress: Progress) -> Scores:
    """Return which examples of the task a classifier gets right.

    Raises:
        DataError: the network's outputs are not one logit for each class.
    """
    name, split = evaluation_split(task)
    right, not_finite, taken = [], 0, [np.empty(0, np.int64)]
    for x, y, outputs, exits in _outputs(session, task, split, progress):
        if outputs.ndim != 2 or (task.classes and outputs.shape[1] != len(task.classes)):
            raise DataError(
                f"{session.source} gives outputs {outputs.shape[1:]}; the task '{task.name}' has {len(task.classes)} "
                f"classes."
            )
        right.append(task.score(outputs, y, x))
        not_finite += int((~np.isfinite(outputs).all(axis=1)).sum())
        taken.append(exits)
    return Scores(
        right=np.concatenate(right),
        not_finite=not_finite,
        source=_source(task, name, split),
        taken=np.concatenate(taken),
    )


def accuracy(scores: Scores) -> Measurement:
    """Return the share of examples whose largest logit is the label's, with Wilson's interval."""
    right, n = int(scores.right.sum()), scores.right.size
    return Measurement(
        metric="accuracy",
        value=right / n,
        unit="share",
        interval=wilson_interval(right, n),
        n=n,
        details={**scores.source, "right": right, "not_finite_counted_wrong": scores.not_finite},
    )


def accuracy_difference(before: Scores, after: Scores) -> Measurement:
    """Return the accuracy after minus that before, with Newcombe's interval for paired shares.

    Both were scored on the same examples, so that what is easy or hard for both takes no part in the uncertainty.
    `details` counts the examples that only the one after ("gained") or only the one before ("lost") gets right.
    """
    both, gained = int((before.right & after.right).sum()), int((~before.right & after.right).sum())
    lost, n = int((before.right & ~after.right).sum()), after.right.size
    return Measurement(
        metric="accuracy_difference",
        value=(gained - lost) / n,
        unit="share",
        interval=paired_difference_interval(both=both, lost=lost, gained=gained, neither=n - both - gained - lost),
        n=n,
        details={**after.source, "gained": gained, "lost": lost, "method": "Newcombe 1998, paired, method 10"},
    )


def area_under_curve(session: Session, task: Task, progress: Progress, seed: int) -> Measurement:
    """Return the area under the ROC curve of a reconstruction network: its error must be larger where the label is 1.

    The error of an example is the mean squared difference between the network's output and its normalised input.

    Raises:
        DataError: the output has another shape than the input, the labels are all alike, or an output is NaN.
    """
    name, split = evaluation_split(task)
    errors, labels = [], []
    for x, y, outputs, _ in _outputs(session, task, split, progress):
        wanted = task.inputs(x)
        if outputs.shape != wanted.shape:
            raise DataError(f"{session.source} gives outputs {outputs.shape}; a reconstruction has {wanted.shape}.")
        errors.append(reconstruction_errors(outputs, wanted))
        labels.append(y != 0)
    scores, positive = np.concatenate(errors), np.concatenate(labels)
    return Measurement(
        metric="auc",
        value=roc_auc(scores, positive),
        unit="share",
        interval=area_under_roc_interval(scores, positive, seed=seed),
        n=len(split),
        details={**_source(task, name, split), "positive": int(positive.sum())},
    )


def _outputs(
    session: Session, task: Task, split: Split, progress: Progress
) -> Iterator[tuple[NDArray[Any], NDArray[Any], NDArray[Any], NDArray[np.int64]]]:
    """Yield (raw examples, labels, the network's outputs, exits taken) for the whole split, in order.

    A network without exits takes none: that array is empty.
    """
    starts = range(0, len(split), _BATCH)
    for start in progress.track(starts, label="accuracy", total=len(starts)):
        x, y = split.x[start : start + _BATCH], split.y[start : start + _BATCH]
        fed = network_inputs(session, task, x)
        if takes_exits(session):
            yield x, y, *answer_each(session, fed)
        else:
            yield x, y, logits(session, fed, _BATCH), np.empty(0, np.int64)


def _source(task: Task, name: str, split: Split) -> dict[str, float | int | str]:
    """Return where the examples come from."""
    return {"task": task.name, "split": name, "source": split.source, "fingerprint": task.fingerprint}
