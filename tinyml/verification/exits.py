"""Does a network with exits leave where the trained model would, and do its stages answer as the one file does?"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, final

import numpy as np
from numpy.typing import NDArray

from tinyml.numerics.exit_rules import confidence, confidences
from tinyml.runtime.exit_policy import ExitPolicy
from tinyml.runtime.staged import open_staged
from tinyml.verification.check import Check, outcome

SAME_EXIT: Final = 0.98
"""Least share of equal exits of a file whose numbers are rounded: int8, float16."""
NEAR: Final = 1e-5
"""A confidence so near to a threshold may fall to either side by the rounding of float32."""
STAGES_DIFFERENCE: Final = 1e-4
"""Largest |difference| of the stages' logits from the file's, as a share of the logits' range."""
ROUNDED_OTHERWISE: Final = 0.02
"""Largest share of the examples that stages of a file with rounded numbers may answer otherwise."""
_BATCH: Final = 64


@final
@dataclass(frozen=True, kw_only=True, eq=False)
class ExitAnswers:
    """What the trained model answers at every exit, and when it would leave.

    Attributes:
        policy: the file's.
        logits: (exits + 1, N, classes), the last the network's own.
    """

    policy: ExitPolicy
    logits: NDArray[np.float32]

    @property
    def taken(self) -> NDArray[np.int64]:
        """The exit (N,) that each example takes."""
        return self.policy.taken(self.logits)

    @property
    def chosen(self) -> NDArray[np.float32]:
        """The logits (N, classes) of each example at the exit that it takes."""
        return self.at(self.taken)

    def at(self, taken: NDArray[np.int64]) -> NDArray[np.float32]:
        """Return the logits (N, classes) of each example at an exit (N,)."""
        chosen: NDArray[np.float32] = self.logits[taken, np.arange(len(taken))]
        return chosen

    def beyond_rounding(self, taken: NDArray[np.int64]) -> NDArray[np.bool_]:
        """Return which examples (N,) take another exit, and not because a confidence is beside a threshold."""
        own = self.taken
        first = np.minimum(np.minimum(own, taken), len(self.policy.thresholds) - 1)  # where the two part
        sure = confidences(self.policy.rule, self.logits, self.policy.temperatures)[first, np.arange(len(taken))]
        threshold = np.asarray(self.policy.thresholds, np.float32)[first]
        strange: NDArray[np.bool_] = (own != taken) & ~_beside(self.policy, sure, threshold)
        return strange


def _beside(
    policy: ExitPolicy, sure: NDArray[np.float32], threshold: NDArray[np.float32] | np.float32
) -> NDArray[np.bool_]:
    """Return which confidences are so near to a threshold that rounding decides; patience counts, so none is."""
    return np.asarray((np.abs(sure - threshold) <= NEAR) & (policy.rule != "patience"))


def same_exit_check(answers: ExitAnswers, taken: NDArray[np.int64], *, bound: float, rounded: bool) -> Check:
    """Return whether the file leaves where the trained model does under the same policy.

    Args:
        answers: of the trained model.
        taken: the exits (N,) that the file took.
        bound: least share of equal exits, where the file's numbers are rounded.
        rounded: whether they are; a float32 file may differ only where a confidence is beside a threshold.
    """
    share, strange = float((answers.taken == taken).mean()), int(answers.beyond_rounding(taken).sum())
    told = "" if rounded else f", {strange} differ beyond rounding"
    return Check(
        name="same exit as the torch model",
        value=f"{share:.2%} of {len(taken)}{told}",
        bound=f">= {100 * bound:.4g}%" if rounded else f"0, confidences within {NEAR:g} of a threshold aside",
        outcome=outcome(share >= bound if rounded else strange == 0),
        explanation="Share of inputs that leave the file at the exit at which the torch model under the same rule, "
        "thresholds and temperatures leaves.",
    )


def stages_check(
    folder: Path,
    inputs: NDArray[Any],
    outputs: NDArray[np.float32],
    taken: NDArray[np.int64],
    *,
    rounded: bool,
    provider: str,
    threads: int,
) -> Check:
    """Return whether the stages in a folder, run on batches, answer as the one file did.

    Between integers a runtime may compute in float (LayerNorm, softmax), and fuse that otherwise in a stage than in the
    one file: now and then a code is then off by one step, and with it all that follows.

    Args:
        folder: with exits.json.
        inputs: (N, ...) as the file takes them.
        outputs: the file's logits (N, classes).
        taken: the exits (N,) that it took.
        rounded: whether the file's numbers are rounded: then few examples may answer otherwise.
        provider: onnxruntime's execution provider.
        threads: of every session.
    """
    network = open_staged(folder, provider=provider, threads=threads)
    parts = [network.run(inputs[start : start + _BATCH]) for start in range(0, len(inputs), _BATCH)]
    logits, exits = (np.concatenate(each) for each in zip(*parts, strict=True))
    same, spread = exits == taken, float(np.ptp(outputs)) or 1.0
    differ = np.where(same, np.abs(logits - outputs).max(axis=1), 0.0) / spread
    elsewhere = _away_from_threshold(network.policy, (taken, outputs), (exits, logits)) & ~same
    strange = elsewhere | (differ > STAGES_DIFFERENCE)
    allowed = int(ROUNDED_OTHERWISE * len(taken)) if rounded else 0
    near = f"confidences within {NEAR:g} of a threshold aside; logits within {STAGES_DIFFERENCE:g}"
    told = f"; {int(strange.sum())} answer otherwise" if strange.any() else ""
    share = f"logits differ by {differ.max():.1e} of their range"
    return Check(
        name="stages answer as the file",
        value=f"{int(elsewhere.sum())} of {len(taken)} leave elsewhere; {share}{told}",
        bound=f"0, {near}" if not allowed else f"<= {allowed} answer otherwise, {near}",
        outcome=outcome(int(strange.sum()) <= allowed),
        explanation="The stages on batches of 64 against the one file on one input at a time.",
    )


def _away_from_threshold(
    policy: ExitPolicy,
    file: tuple[NDArray[np.int64], NDArray[np.float32]],
    stages: tuple[NDArray[np.int64], NDArray[np.float32]],
) -> NDArray[np.bool_]:
    """Return where (N,) the confidence is not beside the threshold at which the earlier of two (exits, logits) left."""
    exits = np.minimum(file[0], stages[0])
    logits = np.where((file[0] <= stages[0])[:, None], file[1], stages[1])
    away = np.ones(len(exits), np.bool_)
    if policy.rule == "patience":
        return away
    for index, (threshold, temperature) in enumerate(zip(policy.thresholds, policy.temperatures, strict=True)):
        sure = confidence(policy.rule, logits, temperature)
        away[exits == index] = ~_beside(policy, sure, np.float32(threshold))[exits == index]
    return away
