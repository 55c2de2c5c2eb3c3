"""What the trainer may be told: sizes, optimizer, schedule and regularisation of one training."""

import dataclasses
import math
from dataclasses import dataclass
from typing import Literal, get_args

from tinyml.errors import UsageError, did_you_mean

OptimizerName = Literal["sgd", "adamw"]
Precision = Literal["float32", "bfloat16", "float16"]

# The largest rates that train the zoo's networks without care; a user with another network lowers them.
LEARNING_RATES: dict[OptimizerName, float] = {"sgd": 0.1, "adamw": 0.002}


@dataclass(frozen=True, kw_only=True)
class TrainingSettings:
    """Settings of one training.

    Attributes:
        epochs: Passes over the train split.
        batch_size: Images per step, of each process. What is left of an epoch after the last full batch waits for
            another epoch.
        optimizer: `sgd` (Nesterov momentum 0.9) or `adamw`.
        learning_rate: The highest learning rate, reached at the end of the warm-up.
        weight_decay: Decay of weights; biases, normalisation, scales and codebooks are never decayed.
        warmup: Share (0-1) of all steps over which the learning rate rises linearly; cosine to zero after it.
        label_smoothing: Share (0-1) of the target probability spread over all classes. Classification only.
        gradient_clip: Largest L2 norm of all gradients together; 0 leaves them alone.
        ema_decay: Decay per step of the averaged weights that are then scored and kept; 0 keeps the weights themselves.
        channels_last: Whether convolutional networks compute on (N, H, W, C) memory, which is faster on most CPUs.
        precision: Of the forward and the loss; weights, optimizer and scores are float32 whatever it is.
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
    precision: Precision = "float32"
    seed: int = 0

    def __post_init__(self) -> None:
        """Refuse values outside their range, all in one error."""
        faults = [*self._integer_faults(), *self._number_faults(), *self._choice_faults()]
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

    def _choice_faults(self) -> list[str]:
        choices = {
            "optimizer": (self.optimizer, get_args(OptimizerName)),
            "precision": (self.precision, get_args(Precision)),
        }
        return [
            f"{name} is '{value}', one of {', '.join(allowed)} is needed.{did_you_mean(value, allowed)}"
            for name, (value, allowed) in choices.items()
            if value not in allowed
        ]
