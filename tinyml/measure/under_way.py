"""What a refusal means once the work is under way: a file that ran already was not refused, it failed."""

from collections.abc import Iterator
from contextlib import contextmanager

from tinyml.errors import CheckpointError, TinymlError


@contextmanager
def failures_under_way() -> Iterator[None]:
    """Turn the refusal of a file that ran on its first input into a failure of the work.

    Raises:
        TinymlError: in place of a CheckpointError.
    """
    try:
        yield
    except CheckpointError as error:
        raise TinymlError(str(error)) from error
