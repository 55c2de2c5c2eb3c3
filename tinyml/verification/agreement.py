"""Does the file compute what the trained model computes? Compared on the same inputs.

At least one check holds the file against a bound:

    classifier, real inputs     share of equal answers        every precision
    float32                     largest difference            every task and input
    float16, int8 otherwise     root-mean-square difference   reconstruction, or random inputs

The last is ||trained - file|| / ||trained|| over all outputs. It is taken where no answer can be counted: a largest
difference is one output's, and grows with how many there are, while rounding spreads over all of them. Its bounds are
0.02 for float16, whose roundings are 2^-11 = 0.0005 each, and 0.1 for int8. On standard normal inputs sound files (nine
int8, four float16: convolutional, attention, lenet, two autoencoders) stayed below 0.0005 (float16) and 0.0014 (int8),
and int8 below 0.02 of the model before quantization, too.
"""

from dataclasses import dataclass
from typing import Final, Literal

import numpy as np
from numpy.typing import NDArray

from tinyml.verification.check import Check, outcome
from tinyml.verification.exits import ExitAnswers

Precision = Literal["float32", "float16", "int8"]

AGREEMENT: dict[Precision, float] = {"float32": 0.999, "float16": 0.99, "int8": 0.99}
FLOAT32_DIFFERENCE = 1e-3
"""Largest |difference| of a float32 file, as a share of the range of the model's outputs."""
ROOT_MEAN_SQUARE: dict[Literal["float16", "int8"], float] = {"float16": 0.02, "int8": 0.1}
"""Largest ||trained - file|| / ||trained|| where no answers are counted; see above."""

SAME_ANSWER: Final = "same answer as the torch model"
LARGEST_DIFFERENCE: Final = "largest difference"
RELATIVE_DIFFERENCE: Final = "root-mean-square difference"
AGREEMENT_CHECKS: Final = frozenset({SAME_ANSWER, LARGEST_DIFFERENCE, RELATIVE_DIFFERENCE})
"""Names of the checks that compare the file with the trained model; one that passed makes a file verified."""


@dataclass(frozen=True, kw_only=True)
class Reference:
    """Inputs as the file takes them, (N, ...), and what the trained model answers to them, (N, ...) float32."""

    inputs: NDArray[np.generic]
    outputs: NDArray[np.float32]
    real: bool
    """Whether the inputs are images of the test split; on random inputs an argmax means nothing."""
    classification: bool
    exits: ExitAnswers | None = None
    """Of a network with exits: what it answers at each; `outputs` are those of the exits that it takes."""


def agreement_checks(
    reference: Reference,
    outputs: NDArray[np.float32],
    precision: Precision,
    bound: float | None,
    taken: NDArray[np.int64] | None = None,
) -> list[Check]:
    """Return the checks of the file's `outputs` against the reference; `bound` replaces the default agreement.

    Args:
        reference: what the trained model answers.
        outputs: what the file answers, (N, ...).
        precision: of the file.
        bound: least share of equal answers, in place of the precision's.
        taken: the exit (N,) that the file took, of a network with exits: numbers are compared exit for exit.
    """
    checks = [_finite(outputs)]
    if reference.classification and reference.real:
        checks.append(_argmax(reference, outputs, AGREEMENT[precision] if bound is None else bound))
    elif precision != "float32":
        checks.append(_root_mean_square(reference, outputs, ROOT_MEAN_SQUARE[precision]))
    trained = reference.outputs if reference.exits is None or taken is None else reference.exits.at(taken)
    checks.append(_largest(trained, outputs, demanded=precision == "float32"))
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


def _largest(trained: NDArray[np.float32], outputs: NDArray[np.float32], *, demanded: bool) -> Check:
    spread = float(np.ptp(trained)) or 1.0
    share = float(np.abs(trained - outputs).max()) / spread
    return Check(
        name=LARGEST_DIFFERENCE,
        value=f"{share:.2e} of the outputs' range",
        bound=f"<= {FLOAT32_DIFFERENCE:g}" if demanded else "",
        outcome=outcome(share <= FLOAT32_DIFFERENCE) if demanded else "noted",
        explanation="Largest |trained model - file| over all outputs, relative to the outputs' range.",
    )


def _root_mean_square(reference: Reference, outputs: NDArray[np.float32], bound: float) -> Check:
    trained = reference.outputs.astype(np.float64)
    size = float(np.linalg.norm(trained)) or 1.0
    share = float(np.linalg.norm(trained - outputs)) / size
    return Check(
        name=RELATIVE_DIFFERENCE,
        value=f"{share:.2e} of the outputs",
        bound=f"<= {bound:g}",
        outcome=outcome(share <= bound),
        explanation="||trained model - file|| / ||trained model|| over all outputs.",
    )


def _argmax(reference: Reference, outputs: NDArray[np.float32], bound: float) -> Check:
    same = reference.outputs.argmax(axis=-1) == outputs.argmax(axis=-1)
    share = float(same.mean())
    return Check(
        name=SAME_ANSWER,
        value=f"{share:.2%} of {same.size}",
        bound=f">= {bound:.1%}",
        outcome=outcome(share >= bound),
        explanation="Share of inputs on which the file's top class is that of the torch model it was exported from "
        "(quantized as the file is); what compression itself cost is the accuracy's change.",
    )
