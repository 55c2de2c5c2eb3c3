"""Run a one-file network with exits: it takes one example at a time, and says where each left."""

from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from tinyml.runtime.exit_policy import RULE_KEY
from tinyml.runtime.session import Session

_OUTPUT: Final = "output"
_EXIT: Final = "exit"


def takes_exits(session: Session) -> bool:
    """Return whether the network is one with exits in one file, as `tinyml.export.exits.join_stages` makes them."""
    return RULE_KEY in session.metadata and {_OUTPUT, _EXIT} <= {*session.outputs}


def answer_each(session: Session, x: NDArray[Any]) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    """Return the logits (N, classes) at the exit that each row of x (N, ...) takes, and that exit (N,); N is above 0.

    Raises:
        CheckpointError: the network refused an input, or failed on it.
    """
    given = [session.run(x[row : row + 1]) for row in range(len(x))]
    return np.concatenate([each[_OUTPUT] for each in given]), np.concatenate([each[_EXIT] for each in given])
