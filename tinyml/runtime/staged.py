"""Run the stages of a network with exits on batches: after each stage, those that stay go on as a smaller batch.

    batch -> stage 0 -> those that leave: done
                        those that stay -> stage 1 -> ...

Each example is decided about on its own, by the rule that the one-file form holds in its graph
(`tinyml.numerics.exit_rules`); who its neighbours are changes nothing but rounding.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final, final

import numpy as np
from numpy.typing import NDArray

from tinyml.errors import CheckpointError
from tinyml.numerics.exit_rules import confidence, run_lengths
from tinyml.runtime.exit_policy import ExitPolicy
from tinyml.runtime.exits_file import EXITS_NAME, read_exits
from tinyml.runtime.session import CPU, StageSession, open_stage

_INPUT: Final = "input"
_OUTPUT: Final = "output"


@final
class StagedNetwork:
    """The stages of a network with exits, and when to leave.

    Attributes:
        policy: rule, thresholds and temperatures.
    """

    def __init__(
        self, stages: Sequence[Path | bytes], policy: ExitPolicy, *, provider: str = CPU, threads: int = 1
    ) -> None:
        """Open the stages: ONNX files or the bytes of such, in order, from `tinyml.export.exits.split_stages`.

        Raises:
            CheckpointError: a stage is missing or damaged, there is another number of stages than the policy has
                exits, or a stage reads what none before it gives.
            TargetError: as `tinyml.runtime.session.open_session`.
        """
        if len(stages) != len(policy.thresholds) + 1:
            given = len(policy.thresholds)
            raise CheckpointError(f"{len(stages)} stages with {given} thresholds; every stage but the last has one.")
        self.policy = policy
        self._stages = [open_stage(stage, provider=provider, threads=threads) for stage in stages]
        known = {_INPUT}
        for stage in self._stages:
            if strange := [name for name in stage.inputs if name not in known]:
                raise CheckpointError(
                    f"{stage.source}: it reads '{strange[0]}', which no stage before it gives; the stages are not of "
                    "one network, or not in order."
                )
            known.update(stage.outputs)

    def run(self, x: NDArray[Any]) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
        """Return the logits (N, classes) at the exit that each example takes, and that exit (N,), from 0 on.

        Args:
            x: (N, ...), N at least 1, of the shape and type that the first stage takes.

        Raises:
            CheckpointError: a stage refused what it was given, or failed on it.
        """
        rows = np.arange(len(x))  # where those that are still in the network stand in the batch
        exits = np.zeros(len(x), np.int64)
        state: dict[str, NDArray[Any]] = {_INPUT: x}
        answers, lengths = np.full(len(x), -1), np.zeros(len(x), np.float32)
        logits: NDArray[np.float32] | None = None
        for index, stage in enumerate(self._stages):
            state |= stage.run(state)
            given = state[_OUTPUT]
            logits = np.empty((len(x), *given.shape[1:]), given.dtype) if logits is None else logits
            now = given.argmax(axis=1)
            lengths = run_lengths(now, answers, lengths)
            leaves = self._leaves(index, given, lengths)
            logits[rows[leaves]], exits[rows[leaves]] = given[leaves], index
            stays = ~leaves
            rows, answers, lengths = rows[stays], now[stays], lengths[stays]
            if not len(rows):
                break
            later = {name for other in self._stages[index + 1 :] for name in other.inputs}
            state = {name: value[stays] for name, value in state.items() if name in later}
        assert logits is not None
        return logits, exits

    def _leaves(self, index: int, logits: NDArray[np.float32], lengths: NDArray[np.float32]) -> NDArray[np.bool_]:
        """Return which examples leave at an exit."""
        policy = self.policy
        if index == len(policy.thresholds):
            return np.ones(len(logits), np.bool_)
        if policy.rule == "patience":
            sure = lengths
        else:
            sure = confidence(policy.rule, logits, policy.temperatures[index])
        return np.asarray(sure >= np.float32(policy.thresholds[index]))


def logits_at_exits(stages: Sequence[StageSession], x: NDArray[Any]) -> NDArray[np.float32]:
    """Return the logits (stages, N, classes) of every exit for one batch x (N, ...); nobody leaves.

    Raises:
        CheckpointError: a stage refused what it was given, or failed on it.
    """
    state: dict[str, NDArray[Any]] = {_INPUT: x}
    logits = []
    for stage in stages:
        state |= stage.run(state)
        logits.append(state[_OUTPUT])
    return np.stack(logits)


def open_staged(directory: Path, *, provider: str = CPU, threads: int = 1) -> StagedNetwork:
    """Return the stages in a directory, such as `stages` of a run, ready to run.

    Raises:
        CheckpointError: exits.json or a stage is missing, damaged, or does not fit the others.
        RecipeError: exits.json has a threshold or temperature that means nothing under its rule.
        TargetError: as `tinyml.runtime.session.open_session`.
    """
    exits = read_exits(directory / EXITS_NAME)
    return StagedNetwork([directory / name for name in exits.stages], exits.policy, provider=provider, threads=threads)
