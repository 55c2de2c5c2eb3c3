"""Checks of the arguments that the factories of the zoo share."""

from tinyml.errors import ModelError


def check_classes(classes: int) -> int:
    """Return the number of classes.

    Raises:
        ModelError: where it is not an integer of at least 1 (torch would build an empty layer for 0).
    """
    if isinstance(classes, bool) or not isinstance(classes, int) or classes < 1:
        raise ModelError(f"classes is {classes!r}; it must be an integer of at least 1.")
    return classes
