"""What one run over one batch tells, and what the batches of a split tell together: a score, and a divergence.

    classification   KL(p || q) = sum_c p_c (log p_c - log q_c),   p of the network as it is, q of the changed one
    reconstruction   mean squared difference of the two outputs

The divergence is smooth where the score counts answers, and small changes of several layers, which hardly know of each
other, add theirs up: near its minimum it is quadratic in the outputs. What is chosen for a budget is chosen by it.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, final

import numpy as np
import torch
from torch import Tensor

from tinyml.data import Task
from tinyml.data.roc import roc_auc
from tinyml.data.task import reconstruction_errors
from tinyml.training.evaluation import NonFiniteError

LARGEST: Final = 1e4
"""Divergence of an example whose outputs are not finite; no other counts more."""


@final
@dataclass(frozen=True, kw_only=True)
class Evidence:
    """What one run over one batch tells.

    Attributes:
        told: of a classification the number of right answers, alone; of a reconstruction the error of every example.
        divergence: of the outputs from those of the network as it is, summed over the examples.
    """

    told: tuple[float, ...]
    divergence: float


def evidence_of(task: Task, outputs: Tensor, y: np.ndarray, inputs: np.ndarray, reference: Tensor) -> Evidence:
    """Return what a batch tells.

    A classification that is not finite is a wrong answer.

    Args:
        task: what outputs mean.
        outputs: (n, ...) of the changed network.
        y: labels (n,).
        inputs: (n, ...).
        reference: outputs of the network as it is, of the same shape.

    Raises:
        NonFiniteError: A reconstruction is not.
    """
    found = outputs.float().cpu().numpy()
    if task.kind == "classification":
        right = float(np.count_nonzero(task.score(found, y, inputs)))
        return Evidence(told=(right,), divergence=_total(_relative_entropies(outputs, reference)))
    errors = reconstruction_errors(found, inputs)
    if not np.isfinite(errors).all():
        raise NonFiniteError(f"{np.count_nonzero(~np.isfinite(errors)):,} reconstructions are NaN or infinite")
    distances = (outputs.double() - reference.double()).square().flatten(1).mean(dim=1)
    return Evidence(told=tuple(float(error) for error in errors), divergence=_total(distances))


def score_of(task: Task, parts: Sequence[Evidence], y: np.ndarray) -> float:
    """Return the score (0-1) from what the batches told, in their order; y (N,) are the labels of all of them."""
    told = np.concatenate([np.asarray(part.told) for part in parts])
    return float(told.sum() / len(y)) if task.kind == "classification" else float(roc_auc(told, y))


def divergence_of(parts: Sequence[Evidence], examples: int) -> float:
    """Return the mean divergence of an example from what the batches told."""
    return sum(part.divergence for part in parts) / examples


def _relative_entropies(outputs: Tensor, reference: Tensor) -> Tensor:
    """Return KL(reference || outputs) of the softmax of each row (n, classes), in nats: float64 (n,)."""
    changed, own = (torch.log_softmax(each.double(), dim=1) for each in (outputs, reference))
    return (own.exp() * (own - changed)).flatten(1).sum(dim=1)


def _total(divergences: Tensor) -> float:
    return float(divergences.nan_to_num(nan=LARGEST).clamp(0, LARGEST).sum())
