"""The tree of errors that tinyml raises on purpose, each with the exit code that the command line gives it.

    TinymlError                    1   failed while working
    ├── Refused                    2   refused before work began: nothing was written
    │   ├── UsageError                 an option or a combination of options
    │   ├── CheckpointError            a checkpoint that cannot be read or does not fit the model
    │   ├── ModelError                 a factory that is missing or does not build
    │   ├── DataError                  a data card or the data behind it
    │   ├── RecipeError                a recipe, or the settings of a pass made in Python
    │   ├── TargetError                a target, or something the target cannot run
    │   ├── OutputError                an output that exists, is locked, or cannot be written
    │   └── MissingDependency          an optional package that is not installed
    ├── DivergenceError            1   a training left the finite numbers (training/result.py)
    ├── NonFiniteError             1   a network answers NaN or Inf (training/evaluation.py)
    ├── ProcessError               *   another process of the run failed, with this code, or ended (1)
    └── GateMissed                 3   a gate was missed: the run is kept and says so; or the goal of a pass

A message says what is wrong, shows the value, says what is allowed with the nearest right word, and what to do next.
"""

from collections.abc import Iterable
from difflib import get_close_matches


class TinymlError(Exception):
    """Something went wrong while working."""

    exit_code = 1


class Refused(TinymlError):
    """The request was refused before work began."""

    exit_code = 2


class UsageError(Refused):
    """An option has a value that is not allowed here."""


class CheckpointError(Refused):
    """A checkpoint cannot be read safely, or does not fit the model."""


class ModelError(Refused):
    """A model name or factory is unknown, or does not build a module."""


class DataError(Refused):
    """A data card, or the data that it names, is wrong."""


class RecipeError(Refused, ValueError):
    """A recipe is wrong, or a setting; a ValueError, too, so that pydantic notes the place and tells other faults."""


class TargetError(Refused):
    """A target is wrong, or cannot run what was asked of it."""


class OutputError(Refused):
    """An output exists already, is in use, or cannot be written."""


class MissingDependency(Refused):
    """An optional package is not installed."""


class GateMissed(TinymlError):
    """A quality gate was missed, and what was made is kept; or the goal of a pass is out of reach."""

    exit_code = 3


class ProcessError(TinymlError):
    """Another process of a run of several failed or ended; the first process of the run is the one that says so."""

    def __init__(self, message: str, *, exit_code: int = 1) -> None:
        super().__init__(message)
        self.exit_code = exit_code


def first_line(error: BaseException) -> str:
    """Return the first line of another library's message; the error's class where it says nothing."""
    lines = str(error).strip().splitlines()
    return lines[0].strip() if lines else type(error).__name__


def did_you_mean(word: str, allowed: Iterable[str]) -> str:
    """Return " Did you mean 'x'?" for the nearest allowed word, or "" where none is near."""
    near = get_close_matches(word, list(allowed), n=1, cutoff=0.6)
    return f" Did you mean '{near[0]}'?" if near else ""
