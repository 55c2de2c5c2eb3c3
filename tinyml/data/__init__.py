"""Data: one source a file, all giving a Task. Numpy only: torch is not imported here."""

from tinyml.data.augment import augment
from tinyml.data.card import Card
from tinyml.data.classes import check_outputs
from tinyml.data.load import load_task
from tinyml.data.split import Split
from tinyml.data.task import Augmentation, Task

__all__ = ["Augmentation", "Card", "Split", "Task", "augment", "check_outputs", "load_task"]
