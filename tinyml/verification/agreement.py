"""Does the file compute what the trained model computes? Compared on the same inputs."""

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from tinyml.verification.check import Check, outcome

Precision = Literal["float32", "float16", "int8"]

AGREEMENT: dict[Precision, float] = {"float32": 0.999, "float16": 0.99, "int8": 0.99}
FLOAT32_DIFFERENCE = 1e-3
"""Largest |difference| of a float32 file, as a share of the range of the model's outputs."""


@dataclass(frozen=True, kw_only=True)
class Reference:
    """Inputs as the file takes them, (N, ...), and what the trained model answers to them, (N, ...) float32."""

    inputs: NDArray[np.generic]
    outputs: NDArray[np.float32]
    real: bool
    """Whether the inputs are images of the test split; on random inputs an argmax means nothing."""
    classification: bool


def agreement_checks(
    reference: Reference, outputs: NDArray[np.float32], precision: Precision, bound: float | None
) -> list[Check]:
    """Return the checks of the file's `outputs` against the reference; `bound` replaces the default agreement."""
    checks = [_finite(outputs)]
    if reference.classification and reference.real:
        checks.append(_argmax(reference, outputs, AGREEMENT[precision] if bound is None else bound))
    spread = float(np.ptp(reference.outputs)) or 1.0
    share = float(np.abs(reference.outputs - outputs).max()) / spread
    demanded = precision == "float32"
    checks.append(
        Check(
            name="largest difference",
            value=f"{share:.2e} of the outputs' range",
            bound=f"<= {FLOAT32_DIFFERENCE:g}" if demanded else "",
            outcome=outcome(share <= FLOAT32_DIFFERENCE) if demanded else "noted",
            explanation="Largest |trained model - file| over all outputs, relative to the outputs' range.",
        )
    )
    return checks


def _finite(outputs: NDArray[np.float32]) -> Check:
    broken = int((~np.isfinite(outputs)).sum())
    return Check(
        name="finite outputs",
        value=f"{broken} NaN or Inf",
        bound="0",
        outcome=outcome(broken == 0),
        explanation="No output of the file may be NaN or infinite.",
    )


def _argmax(reference: Reference, outputs: NDArray[np.float32], bound: float) -> Check:
    same = reference.outputs.argmax(axis=-1) == outputs.argmax(axis=-1)
    share = float(same.mean())
    return Check(
        name="same answer as the trained model",
        value=f"{share:.2%} of {same.size}",
        bound=f">= {bound:.1%}",
        outcome=outcome(share >= bound),
        explanation="Share of test inputs on which the file's top class is the trained model's.",
    )
