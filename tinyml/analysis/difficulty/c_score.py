"""C-score: how often a network is right about an example that it was not trained on.

Networks are trained from fresh weights on random halves of the train split; an example's score is the share of those
trained without it that give its label. Source: Jiang, Zhang, Talwar, Mozer 2021, "Characterizing Structural
Regularities of Labeled Data in Overparameterized Models" (arXiv:2002.03206), which averages over several shares of the
train split; here there is one, 1/2.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Final, final

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from tinyml.analysis.difficulty.features import TRAIN
from tinyml.checkpoint.safetensors_file import from_safetensors, to_safetensors
from tinyml.data import Split, Task
from tinyml.errors import UsageError
from tinyml.progress import Progress
from tinyml.training import StateStore, TrainingSettings, train
from tinyml.training.evaluation import predict

MOST_EXAMPLES: Final = 5000
BATCH: Final = 64
EPOCHS: Final = 30


@final
@dataclass(frozen=True, kw_only=True)
class CScoreSettings:
    """How many networks are trained, and how.

    Attributes:
        runs: trainings, each on another half.
        epochs: of each.
        seed: of the halves, the weights and the order of the images.
        device: where torch computes.
    """

    runs: int
    epochs: int = EPOCHS
    seed: int = 0
    device: str = "cpu"


def check_c_score(task: Task) -> None:
    """Refuse a train split on which so many trainings would take too long.

    Raises:
        UsageError: It has more than MOST_EXAMPLES.
    """
    examples = len(task.splits[TRAIN])
    if examples > MOST_EXAMPLES:
        raise UsageError(
            f"--c-score trains one network after another, and the train split of '{task.name}' has {examples:,} "
            f"examples; at most {MOST_EXAMPLES:,} are allowed: take fewer with --images {MOST_EXAMPLES}"
        )


def c_scores(
    fresh: Callable[[int], nn.Module],
    task: Task,
    settings: CScoreSettings,
    *,
    store: StateStore | None,
    progress: Progress,
) -> NDArray[np.float64]:
    """Return the C-score (0-1) of each example of the train split; NaN where every network was trained with it.

    Args:
        fresh: a network with the weights of a seed.
        task: the data.
        settings: how many, and how.
        store: where finished trainings are kept against a kill.
        progress: told of every training.

    Raises:
        DivergenceError: A training left the finite numbers.
    """
    split = task.splits[TRAIN]
    zeros = torch.zeros(len(split), dtype=torch.int64)
    told = _saved(store) or {"runs": torch.tensor(0), "without": zeros, "right": zeros.clone()}
    done = int(told["runs"])
    for run in progress.track(range(done, settings.runs), label="C-score", total=settings.runs, done=done):
        out, right = _one_run(fresh, task, settings, run, progress)
        told["without"][out] += 1
        told["right"][out] += right
        told["runs"] = torch.tensor(run + 1)
        if store is not None:
            store.save(to_safetensors(told, {}))
    shares: NDArray[np.float64] = (told["right"] / told["without"].double()).numpy()  # 0/0 is NaN
    return shares


def _one_run(
    fresh: Callable[[int], nn.Module], task: Task, settings: CScoreSettings, run: int, progress: Progress
) -> tuple[Tensor, Tensor]:
    """Return the examples (n,) that one network was trained without, and whether it is right about each."""
    split = task.splits[TRAIN]
    drawn = np.random.default_rng([settings.seed, run]).permutation(len(split))
    trained, out = np.sort(drawn[: len(split) // 2]), np.sort(drawn[len(split) // 2 :])
    half = split.take(trained, f"a random half of {split.source}")
    module = fresh(settings.seed + run)
    train(
        module,
        replace(task, train=half, validation=None, test=None, fingerprint=""),
        TrainingSettings(epochs=settings.epochs, batch_size=min(BATCH, len(half)), seed=settings.seed + run),
        progress=progress,
        device=settings.device,
    )
    left_out: Split = split.take(out, split.source)
    answers = predict(module, task, left_out)[:, -1].argmax(axis=1)
    return torch.from_numpy(out), torch.from_numpy(answers == left_out.y).long()


def _saved(store: StateStore | None) -> dict[str, Tensor]:
    state = store.load() if store is not None else None
    return from_safetensors(state)[0] if state is not None else {}
