"""What a network gives for a batch: one tensor, or a tuple of them, one for each exit; the last is its own answer."""

from torch import Tensor

Outputs = Tensor | tuple[Tensor, ...]


def outputs_of(given: object) -> tuple[Tensor, ...]:
    """Return the outputs by exit, of a network without exits its only one.

    Raises:
        TypeError: It gave something else than tensors.
    """
    if isinstance(given, Tensor):
        return (given,)
    if isinstance(given, tuple) and len(given) > 1 and all(isinstance(each, Tensor) for each in given):
        return tuple(given)
    raise TypeError(f"it returns a {type(given).__name__}, not one tensor")


def final_output(given: object) -> Tensor:
    """Return the network's own answer, which is that of its last exit."""
    return outputs_of(given)[-1]
