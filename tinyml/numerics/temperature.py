"""Temperature scaling: one number per exit that makes its probabilities as sure as they are right.

    T = argmin over T of the mean of -log softmax(logits / T)[label]

Guo et al. 2017 (arXiv:1706.04599). In b = 1 / T this is convex, so that its derivative, the mean over examples of
sum_k softmax(b z)_k z_k - z_label, rises with b and one bisection finds the minimum. Answers do not change.
"""

import math
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

LOWEST: Final = 0.05
HIGHEST: Final = 20.0
STEPS: Final = 60


def fit_temperature(logits: NDArray[Any], labels: NDArray[np.integer[Any]]) -> float:
    """Return the temperature, LOWEST to HIGHEST, at which the labels (N,) are most likely under logits (N, classes)."""
    z = logits.astype(np.float64)
    z -= z.max(axis=1, keepdims=True)
    right = float(z[np.arange(len(z)), labels].mean())
    low, high = math.log(1 / HIGHEST), math.log(1 / LOWEST)
    for _ in range(STEPS):
        middle = (low + high) / 2
        p = np.exp(math.exp(middle) * z)
        slope = float(((p * z).sum(axis=1) / p.sum(axis=1)).mean()) - right
        low, high = (low, middle) if slope > 0 else (middle, high)
    return math.exp(-(low + high) / 2)
