"""The first input of a layer, which a network may give by position or by keyword."""

from collections.abc import Mapping

from torch import Tensor


def first_input(inputs: tuple[object, ...], named: Mapping[str, object]) -> Tensor:
    """Return the first tensor that a hook with keywords is handed: of `conv(x)` and `conv(input=x)` alike x."""
    return next(value for value in (*inputs, *named.values()) if isinstance(value, Tensor))
