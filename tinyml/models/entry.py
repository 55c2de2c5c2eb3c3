"""What is known of a model before it is built."""

from collections.abc import Callable
from dataclasses import dataclass

from torch import nn


@dataclass(frozen=True, kw_only=True)
class ModelEntry:
    """One line of the zoo, or a factory of the user's.

    Attributes:
        name: 'resnet20-cifar', or 'package.module:factory'.
        factory: builds the module from JSON-able keyword arguments.
        input_shape: (C, H, W) of one input with the default arguments; None where it is unknown (user factories).
        summary: one line for `tinyml models`.
    """

    name: str
    factory: Callable[..., nn.Module]
    input_shape: tuple[int, ...] | None
    summary: str
