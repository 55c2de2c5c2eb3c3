"""When an example leaves a network at an exit: rules that look at logits alone, one example at a time.

Every rule makes one number of the logits z of an exit, the larger the surer; an example leaves at the first exit where

    confidence >= threshold of that exit        p = softmax(z / T), T the temperature of the exit

    max_probability   max p
    margin            the largest p less the second largest
    entropy           1 + sum(p log p) / log(classes): the entropy turned round; Teerapittayanon et al. 2016
                      (BranchyNet, arXiv:1709.01686)
    patience          how many exits in a row, this one included, gave the same answer argmax z; Zhou et al. 2020
                      (arXiv:2006.04152), whose counter is one less

The first three lie in 0..1; patience is 1 at the first exit. The last exit is the network's own answer: whoever reaches
it leaves there. Numbers are float32, as in an ONNX file.
"""

from collections.abc import Sequence
from itertools import pairwise
from typing import Any, Final, Literal, get_args

import numpy as np
from numpy.typing import NDArray

ExitRule = Literal["max_probability", "entropy", "margin", "patience"]
"""How the confidence of an exit is computed."""
RULES: Final[tuple[ExitRule, ...]] = get_args(ExitRule)

NEVER: Final = 2.0
"""A threshold that no probability reaches: nobody leaves there."""

Floats = NDArray[np.float32]


def confidence(rule: Literal["max_probability", "entropy", "margin"], logits: Floats, temperature: float) -> Floats:
    """Return how sure an exit is of each example, (N,), for logits (N, classes) of 2 classes or more."""
    scaled = logits.astype(np.float32) / np.float32(temperature)
    log_p = scaled - scaled.max(axis=1, keepdims=True)
    log_p -= np.log(np.exp(log_p).sum(axis=1, keepdims=True))
    p = np.exp(log_p)
    if rule == "max_probability":
        return np.asarray(p.max(axis=1))
    if rule == "margin":
        second, first = np.partition(p, -2, axis=1)[:, -2:].T
        return np.asarray(first - second)
    sure = 1 + (p * log_p).sum(axis=1) / np.float32(np.log(logits.shape[1]))
    return np.asarray(np.maximum(sure, 0))  # of equal logits rounding gives less than 0


def run_lengths(answers: NDArray[np.int64], before: NDArray[np.int64], lengths: Floats) -> Floats:
    """Return, per example, how many exits in a row gave this answer; `lengths` is that of the answers `before`."""
    return np.where(answers == before, lengths + np.float32(1), np.float32(1)).astype(np.float32)


def confidences(rule: ExitRule, logits: Floats, temperatures: Sequence[float]) -> Floats:
    """Return the confidence (exits, N) of every example at every exit but the last.

    Args:
        rule: one of RULES.
        logits: (exits + 1, N, classes), the last the network's own.
        temperatures: one above 0 for each exit but the last; without effect on patience.
    """
    early = logits[:-1]
    if rule != "patience":
        return np.stack([confidence(rule, each, t) for each, t in zip(early, temperatures, strict=True)])
    answers: NDArray[Any] = early.argmax(axis=2)
    lengths = [np.ones(answers.shape[1], dtype=np.float32)]
    for before, now in pairwise(answers):
        lengths.append(run_lengths(now, before, lengths[-1]))
    return np.stack(lengths)


def exits_taken(confidence_of: Floats, thresholds: Sequence[float]) -> NDArray[np.int64]:
    """Return the index (N,) of the exit where each example leaves, the number of thresholds for the network's end.

    Args:
        confidence_of: (exits, N), see `confidences`.
        thresholds: one for each exit.
    """
    leaves = confidence_of >= np.asarray(thresholds, dtype=np.float32)[:, None]
    always = np.ones((1, confidence_of.shape[1]), dtype=bool)
    taken: NDArray[np.int64] = np.concatenate([leaves, always]).argmax(axis=0)
    return taken


def never(rule: ExitRule, *, exits: int) -> float:
    """Return a threshold at which nobody leaves one of so many early exits."""
    return float(exits + 1) if rule == "patience" else NEVER


def is_never(rule: ExitRule, threshold: float, *, exit_index: int) -> bool:
    """Return whether nobody can leave at this exit, from 0 on: no confidence there reaches the threshold."""
    return threshold > (exit_index + 1 if rule == "patience" else 1)


def threshold_fault(rule: ExitRule, threshold: float) -> str:
    """Return why a threshold means nothing under a rule, "" where it does."""
    if rule == "patience":
        if threshold >= 1 and float(threshold).is_integer():
            return ""
        return (
            f"{threshold:g}: patience wants a whole number from 1 (leaves at once), the exits in a row that must agree"
        )
    return (
        ""
        if 0 <= threshold <= 1 or threshold == NEVER
        else f"{threshold:g}: {rule} lies from 0 (leaves always) to 1, and {NEVER:g} means never"
    )
