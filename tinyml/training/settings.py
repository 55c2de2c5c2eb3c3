"""What the trainer may be told: sizes, optimizer, schedule and regularisation of one training."""

import dataclasses
import math
from dataclasses import dataclass
from typing import Literal, get_args

from tinyml.errors import UsageError, did_you_mean

OptimizerName = Literal["sgd", "adamw"]

# The largest rates that train the zoo's networks without care; a user with another network lowers them.
LEARNING_RATES: dict[OptimizerName, float] = {"sgd": 0.1, "adamw": 0.002}


@dataclass(frozen=True, kw_only=True)
class TrainingSettings:
    """Settings of one training.

    Attributes:
        epochs: Passes over the train split.
        batch_size: Images per step. What is left of an epoch after the last full batch waits for another epoch.
        optimizer: `sgd` (Nesterov momentum 0.9) or `adamw`.
        learning_rate: The highest learning rate, reached at the end of the warm-up.
        weight_decay: Decay of weights; biases, normalisation, scales and codebooks are never decayed.
        warmup: Share (0-1) of all steps over which the learning rate rises linearly; cosine to zero after it.
        label_smoothing: Share (0-1) of the target probability spread over all classes. Classification only.
        gradient_clip: Largest L2 norm of all gradients together; 0 leaves them alone.
        ema_decay: Decay per step of the averaged weights that are then scored and kept; 0 keeps the weights themselves.
        channels_last: Whether convolutional networks compute on (N, H, W, C) memory, which is faster on most CPUs.
        seed: Seed of the data order, the augmentation and dropout.

    Raises:
        UsageError: One or more values are not allowed; all of them are named.
    """

    epochs: int = 30
    batch_size: int = 64
    optimizer: OptimizerName = "sgd"
    learning_rate: float = LEARNING_RATES["sgd"]
    weight_decay: float = 5e-4
    warmup: float = 0.05
    label_smoothing: float = 0.1
    gradient_clip: float = 0.0
    ema_decay: float = 0.0
    channels_last: bool = True
    seed: int = 0

    def __post_init__(self) -> None:
        """Refuse values outside their range, all in one error."""
        faults = [*self._integer_faults(), *self._number_faults(), *self._optimizer_faults()]
        if faults:
            raise UsageError("the training settings are not usable: " + "; ".join(faults))

    def as_json(self) -> dict[str, int | float | str | bool]:
        """Return every setting by name."""
        return dataclasses.asdict(self)

    def _integer_faults(self) -> list[str]:
        least = {"epochs": (self.epochs, 1), "batch_size": (self.batch_size, 1), "seed": (self.seed, 0)}
        return [f"{name} is {value}, at least {low} is needed" for name, (value, low) in least.items() if value < low]

    def _number_faults(self) -> list[str]:
        faults = []
        if not (math.isfinite(self.learning_rate) and self.learning_rate > 0):
            faults.append(f"learning_rate is {self.learning_rate}, a number above 0 is needed")
        for name, value in {"weight_decay": self.weight_decay, "gradient_clip": self.gradient_clip}.items():
            if not (math.isfinite(value) and value >= 0):
                faults.append(f"{name} is {value}, 0 or more is needed")
        shares = {"warmup": self.warmup, "label_smoothing": self.label_smoothing, "ema_decay": self.ema_decay}
        for name, value in shares.items():
            if not 0 <= value < 1:
                faults.append(f"{name} is {value}, a share of at least 0 and below 1 is needed")
        return faults

    def _optimizer_faults(self) -> list[str]:
        allowed = get_args(OptimizerName)
        if self.optimizer in allowed:
            return []
        near = did_you_mean(self.optimizer, allowed)
        return [f"optimizer is '{self.optimizer}', one of {', '.join(allowed)} is needed.{near}"]
