"""Score of the file that ships, in the session it ships to, with the number of examples and a 95 % interval."""

from collections.abc import Iterator
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from tinyml.data.roc import roc_auc
from tinyml.data.split import Split
from tinyml.data.task import Task, reconstruction_errors
from tinyml.errors import DataError
from tinyml.measure.inputs import evaluation_split, network_inputs
from tinyml.measure.measurement import Measurement
from tinyml.measure.statistics import area_under_roc_interval, wilson_interval
from tinyml.progress import Progress
from tinyml.runtime.session import Session, logits

_BATCH: Final = 64


def accuracy(session: Session, task: Task, progress: Progress) -> Measurement:
    """Return the share of examples whose largest logit is the label's, with Wilson's interval.

    Raises:
        DataError: the network's outputs are not one logit for each class.
    """
    name, split = evaluation_split(task)
    right, not_finite = 0, 0
    for _, y, outputs in _outputs(session, task, split, progress):
        if outputs.ndim != 2 or (task.classes and outputs.shape[1] != len(task.classes)):
            raise DataError(
                f"{session.source} gives outputs {outputs.shape[1:]}; the task '{task.name}' has {len(task.classes)} "
                f"classes."
            )
        finite = np.isfinite(outputs).all(axis=1)
        right += int(((outputs.argmax(axis=1) == y) & finite).sum())
        not_finite += int((~finite).sum())
    return Measurement(
        metric="accuracy",
        value=right / len(split),
        unit="share",
        interval=wilson_interval(right, len(split)),
        n=len(split),
        details={**_source(task, name, split), "right": right, "not_finite_counted_wrong": not_finite},
    )


def area_under_curve(session: Session, task: Task, progress: Progress, seed: int) -> Measurement:
    """Return the area under the ROC curve of a reconstruction network: its error must be larger where the label is 1.

    The error of an example is the mean squared difference between the network's output and its normalised input.

    Raises:
        DataError: the output has another shape than the input, the labels are all alike, or an output is NaN.
    """
    name, split = evaluation_split(task)
    errors, labels = [], []
    for x, y, outputs in _outputs(session, task, split, progress):
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
) -> Iterator[tuple[NDArray[Any], NDArray[Any], NDArray[Any]]]:
    """Yield (raw examples, labels, the network's outputs) for the whole split, in order."""
    starts = range(0, len(split), _BATCH)
    for start in progress.track(starts, label="accuracy", total=len(starts)):
        x, y = split.x[start : start + _BATCH], split.y[start : start + _BATCH]
        yield x, y, logits(session, network_inputs(session, task, x), _BATCH)


def _source(task: Task, name: str, split: Split) -> dict[str, float | int | str]:
    """Return where the examples come from."""
    return {"task": task.name, "split": name, "source": split.source, "fingerprint": task.fingerprint}
