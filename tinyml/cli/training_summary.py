"""What `tinyml train` prints when it is done."""

from dataclasses import asdict, dataclass
from pathlib import Path

from torch import nn

from tinyml.cli.console import print_json, print_table
from tinyml.data import Task
from tinyml.measure.statistics import wilson_interval
from tinyml.training import TrainingResult, TrainingSettings, evaluate


@dataclass(frozen=True, kw_only=True)
class SplitScore:
    """The score (0-1) on one split, with its 95 % interval where the score is a share of right answers."""

    split: str
    score: float
    interval: tuple[float, float] | None
    n: int
    note: str

    def cells(self) -> list[str]:
        """Return the line of the table."""
        interval = f"{self.interval[0]:.2%} to {self.interval[1]:.2%}" if self.interval else "-"
        return [self.split, f"{self.score:.2%}", interval, f"{self.n:,}", self.note]


def show_training(
    module: nn.Module,
    task: Task,
    settings: TrainingSettings,
    result: TrainingResult,
    *,
    output: Path,
    as_json: bool,
) -> None:
    """Print what was written and its scores; the test split is measured here, once."""
    scores = []
    if task.validation is not None and result.best.validation_score is not None:
        found, note = result.best.validation_score, "the epoch was chosen on it"
        scores.append(_split_score(task, "validation", found, len(task.validation), note))
    if task.test is not None:
        tested = evaluate(module, task, task.test)
        scores.append(_split_score(task, "test", tested.score, tested.n, "measured once"))
    if as_json:
        print_json(
            {
                "output": str(output),
                "best_epoch": result.best_epoch,
                "score": task.score_name,
                "scores": [asdict(score) for score in scores],
                "history": [asdict(record) for record in result.history],
                "settings": settings.as_json(),
            }
        )
        return
    title = f"{output}: epoch {result.best_epoch} of {len(result.history)}, training loss {result.best.loss:.4f}"
    columns = ["split", f"{task.score_name} (torch)", "95 % interval", "n", ""]
    print_table(columns, [score.cells() for score in scores], title=title, right=columns[1:4])


def _split_score(task: Task, split: str, score: float, n: int, note: str) -> SplitScore:
    interval = wilson_interval(round(score * n), n) if task.kind == "classification" else None
    return SplitScore(split=split, score=score, interval=interval, n=n, note=note)
