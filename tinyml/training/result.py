"""What a training comes to: its epochs, the best of them, or where it went wrong."""

from collections.abc import Sequence
from dataclasses import dataclass

from tinyml.errors import TinymlError


@dataclass(frozen=True, kw_only=True)
class EpochRecord:
    """What one epoch came to.

    Attributes:
        epoch: Its number, counted from 1.
        loss: The mean of the training losses of its steps.
        validation_score: The score (0-1) after it, or None without a validation split.
        images_per_second: Images trained on per second, validation left out.
        unfinished: Whether something attached had still to reach what its pass promised, such as a mask that grows.
    """

    epoch: int
    loss: float
    validation_score: float | None
    images_per_second: float
    unfinished: bool = False


@dataclass(frozen=True, kw_only=True)
class TrainingResult:
    """The epochs of a training, and the number (from 1) of the one whose weights the module has; 0 for none."""

    history: tuple[EpochRecord, ...]
    best_epoch: int

    @property
    def best(self) -> EpochRecord:
        """Return the record of the best epoch.

        Raises:
            ValueError: no epoch was finished.
        """
        if not self.best_epoch:
            raise ValueError("no epoch was finished, so none is the best")
        return self.history[self.best_epoch - 1]


class DivergenceError(TinymlError):
    """A loss, gradient, weight or output became NaN or infinite.

    Attributes:
        result: The epochs before it. The module has the weights of the best one, or those it came with.
    """

    def __init__(self, message: str, result: TrainingResult) -> None:
        super().__init__(message)
        self.result = result


def best_epoch(history: Sequence[EpochRecord]) -> int:
    """Return the number of the epoch with the highest validation score, the later of equals; 0 for no epochs.

    Of equal scores the later is better: it has seen more data, at a lower learning rate. Without scores the last is. An
    epoch with unfinished attachments comes after all others.
    """
    if not history:
        return 0
    return max(history, key=lambda each: (not each.unfinished, each.validation_score or 0.0, each.epoch)).epoch
