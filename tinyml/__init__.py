"""tinyml compresses trained networks for small devices and measures the file that ships.

The public names below are imported when they are first used, so that `import tinyml` is cheap.
"""

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tinyml.checkpoint import load_compressed as load
    from tinyml.data import Task, load_task
    from tinyml.errors import GateMissed, Refused, TinymlError
    from tinyml.measure import Measurement
    from tinyml.models import create_model
    from tinyml.passes import Pass
    from tinyml.pipeline import Job
    from tinyml.pipeline import verify_subject as verify
    from tinyml.pipeline.compress import compress
    from tinyml.recipe import PassEntry, Recipe, load_recipe
    from tinyml.target import Target, load_target
    from tinyml.training import TrainingSettings, train

__version__ = "0.1.0"

# name -> (module, name in it)
_PUBLIC = {
    "GateMissed": ("tinyml.errors", "GateMissed"),
    "Job": ("tinyml.pipeline", "Job"),
    "Measurement": ("tinyml.measure", "Measurement"),
    "Pass": ("tinyml.passes", "Pass"),
    "PassEntry": ("tinyml.recipe", "PassEntry"),
    "Recipe": ("tinyml.recipe", "Recipe"),
    "Refused": ("tinyml.errors", "Refused"),
    "Target": ("tinyml.target", "Target"),
    "Task": ("tinyml.data", "Task"),
    "TinymlError": ("tinyml.errors", "TinymlError"),
    "TrainingSettings": ("tinyml.training", "TrainingSettings"),
    "compress": ("tinyml.pipeline", "compress"),
    "create_model": ("tinyml.models", "create_model"),
    "load": ("tinyml.checkpoint", "load_compressed"),
    "load_recipe": ("tinyml.recipe", "load_recipe"),
    "load_target": ("tinyml.target", "load_target"),
    "load_task": ("tinyml.data", "load_task"),
    "train": ("tinyml.training", "train"),
    "verify": ("tinyml.pipeline", "verify_subject"),
}

__all__ = [
    "GateMissed",
    "Job",
    "Measurement",
    "Pass",
    "PassEntry",
    "Recipe",
    "Refused",
    "Target",
    "Task",
    "TinymlError",
    "TrainingSettings",
    "compress",
    "create_model",
    "load",
    "load_recipe",
    "load_target",
    "load_task",
    "train",
    "verify",
]


def __getattr__(name: str) -> object:
    """Import a public name on its first use (PEP 562)."""
    if name not in _PUBLIC:
        raise AttributeError(f"module 'tinyml' has no attribute {name!r}")
    module, attribute = _PUBLIC[name]
    value: object = getattr(import_module(module), attribute)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    """Return the public names, imported or not."""
    return sorted({*globals(), *__all__})
