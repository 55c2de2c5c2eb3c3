"""The one loop that trains whatever is attached to a module, with what it is made of."""

from tinyml.training.baseline import fresh_module, train_baseline, training_facts
from tinyml.training.batches import Position, train_split
from tinyml.training.batchnorm import recalibrate_batchnorm
from tinyml.training.devices import find_device
from tinyml.training.distillation import check_teacher, distilled
from tinyml.training.evaluation import Evaluation, evaluate
from tinyml.training.freezing import frozen, heads_alone
from tinyml.training.joining import joined
from tinyml.training.loop import train
from tinyml.training.losses import ExitLoss, Loss, Objective, OutputObjective, task_objective
from tinyml.training.processes import ALONE, Processes
from tinyml.training.result import DivergenceError, EpochRecord, TrainingResult
from tinyml.training.run import StepHook
from tinyml.training.settings import LEARNING_RATES, OptimizerName, Precision, TrainingSettings
from tinyml.training.state import StateStore
from tinyml.training.state_file import StateFile
from tinyml.training.weights import digest

__all__ = [
    "ALONE",
    "LEARNING_RATES",
    "DivergenceError",
    "EpochRecord",
    "Evaluation",
    "ExitLoss",
    "Loss",
    "Objective",
    "OptimizerName",
    "OutputObjective",
    "Position",
    "Precision",
    "Processes",
    "StateFile",
    "StateStore",
    "StepHook",
    "TrainingResult",
    "TrainingSettings",
    "check_teacher",
    "digest",
    "distilled",
    "evaluate",
    "find_device",
    "fresh_module",
    "frozen",
    "heads_alone",
    "joined",
    "recalibrate_batchnorm",
    "task_objective",
    "train",
    "train_baseline",
    "train_split",
    "training_facts",
]
