"""What one run over one batch tells, and the score that the batches of a split make together.

Of a classification it is the number of right answers, of a reconstruction the error of every example.
"""

from collections.abc import Sequence

import numpy as np
from torch import Tensor

from tinyml.data import Task
from tinyml.data.roc import roc_auc
from tinyml.data.task import reconstruction_errors
from tinyml.training.evaluation import NonFiniteError

Evidence = list[float]


def evidence_of(task: Task, outputs: Tensor, y: np.ndarray, inputs: np.ndarray) -> Evidence:
    """Return what a batch tells: outputs (n, ...), labels (n,), inputs (n, ...).

    A classification that is not finite is a wrong answer.

    Raises:
        NonFiniteError: A reconstruction is not.
    """
    found = outputs.float().cpu().numpy()
    if task.kind == "classification":
        return [float(np.count_nonzero(task.score(found, y, inputs)))]
    errors = reconstruction_errors(found, inputs)
    if not np.isfinite(errors).all():
        raise NonFiniteError(f"{np.count_nonzero(~np.isfinite(errors)):,} reconstructions are NaN or infinite")
    return [float(error) for error in errors]


def score_of(task: Task, parts: Sequence[Evidence], y: np.ndarray) -> float:
    """Return the score (0-1) from what the batches told, in their order; y (N,) are the labels of all of them."""
    told = np.concatenate([np.asarray(part) for part in parts])
    return float(told.sum() / len(y)) if task.kind == "classification" else float(roc_auc(told, y))
