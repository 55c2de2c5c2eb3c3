"""What each exit of a one-file network answers and costs, counted on the file that ships."""

from dataclasses import dataclass
from pathlib import Path
from typing import Final, final

import numpy as np
import onnx
from numpy.typing import NDArray

from tinyml.data.task import Task
from tinyml.export.exits import exit_policy, set_thresholds
from tinyml.measure.accuracy import Scores, score
from tinyml.measure.macs import macs_by_exit
from tinyml.measure.measurement import Measurement
from tinyml.measure.network import Network
from tinyml.progress import Progress
from tinyml.runtime.exit_policy import ExitPolicy
from tinyml.runtime.session import CPU, Session, open_session

EXAMPLES: Final = "examples"
RIGHT: Final = "right"
ACCURACY_OF_ALL: Final = "accuracy_of_all"
MACS: Final = "macs"
THRESHOLD: Final = "threshold"


@final
@dataclass(frozen=True, kw_only=True, eq=False)
class ExitScores:
    """Where the examples of the split leave, and what every exit makes of all of them.

    Attributes:
        policy: when they leave.
        taken: the exit of each example (N,), from 0 on.
        right: whether its answer there is the label (N,).
        right_at: the same (exits + 1, N) if all left at each exit.
    """

    policy: ExitPolicy
    taken: NDArray[np.int64]
    right: NDArray[np.bool_]
    right_at: NDArray[np.bool_]


def open_leaving_at(
    path: Path, exit_index: int, *, provider: str = CPU, threads: int = 1, policy: ExitPolicy | None = None
) -> Session:
    """Return a session on a copy of a one-file network in which every example leaves at this exit.

    Args:
        path: the file.
        exit_index: from 0 on; the number of early exits is the network's end.
        provider: onnxruntime's execution provider.
        threads: threads inside an operator.
        policy: the file's, where it is known already.

    Raises:
        TargetError: the file has no exits.
    """
    model = onnx.load(str(path))
    thresholds = (policy or exit_policy(model)).leaving_at(exit_index)
    changed = set_thresholds(model, dict(enumerate(thresholds)))
    return open_session(changed.SerializeToString(), provider=provider, threads=threads)


def score_exits(
    path: Path, scores: Scores, task: Task, progress: Progress, *, provider: str, threads: int
) -> ExitScores:
    """Return where the examples leave and what every exit makes of them; `scores` are the file's as it is."""
    policy = exit_policy(onnx.load(str(path)))
    right_at = [
        score(open_leaving_at(path, index, provider=provider, threads=threads, policy=policy), task, progress).right
        for index in range(len(policy.thresholds) + 1)
    ]
    return ExitScores(policy=policy, taken=scores.taken, right=scores.right, right_at=np.stack(right_at))


def early_exits(network: Network, scores: ExitScores) -> Measurement:
    """Return the share of examples that leave before the end; `details` tell of every exit, the last the end.

    By exit: how many leave there, how many of them are right, the share of all examples that would be right there, the
    multiply-adds of coming so far, and the threshold.
    """
    n, details = len(scores.taken), dict[str, float | int | str]()
    for index, macs in enumerate(macs_by_exit(network)):
        here = scores.taken == index
        facts: dict[str, float | int] = {
            EXAMPLES: int(here.sum()),
            RIGHT: int(scores.right[here].sum()),
            ACCURACY_OF_ALL: float(scores.right_at[index].mean()),
            MACS: macs,
        }
        if index < len(scores.policy.thresholds):
            facts[THRESHOLD] = scores.policy.thresholds[index]
        details |= {f"exit_{index}_{name}": value for name, value in facts.items()}
    early = int((scores.taken < len(scores.policy.thresholds)).sum())
    details |= {"rule": scores.policy.rule, "exits": len(scores.policy.thresholds) + 1}
    return Measurement(metric="early_exits", value=early / n, unit="share", n=n, details=details)
