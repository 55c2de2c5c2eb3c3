"""The one loop that trains whatever is attached to a module, with what it is made of."""

from tinyml.training.baseline import fresh_module, train_baseline, training_facts
from tinyml.training.batches import Position
from tinyml.training.devices import find_device
from tinyml.training.evaluation import Evaluation, evaluate
from tinyml.training.loop import train
from tinyml.training.losses import Objective
from tinyml.training.result import DivergenceError, EpochRecord, TrainingResult
from tinyml.training.run import StepHook
from tinyml.training.settings import LEARNING_RATES, TrainingSettings
from tinyml.training.state import StateStore
from tinyml.training.state_file import StateFile

__all__ = [
    "LEARNING_RATES",
    "DivergenceError",
    "EpochRecord",
    "Evaluation",
    "Objective",
    "Position",
    "StateFile",
    "StateStore",
    "StepHook",
    "TrainingResult",
    "TrainingSettings",
    "evaluate",
    "find_device",
    "fresh_module",
    "train",
    "train_baseline",
    "training_facts",
]
