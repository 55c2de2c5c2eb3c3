"""Run a whole network as if some of its channels, which are zero, were not there, for what counts channels."""

import math
from collections.abc import Callable, Sequence
from typing import Any, Final, final

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.overrides import TorchFunctionMode

_NAMES: Final[dict[Callable[..., Tensor], tuple[str, ...]]] = {
    F.layer_norm: ("input", "normalized_shape", "weight", "bias", "eps"),
    F.rms_norm: ("input", "normalized_shape", "weight", "eps"),
    F.group_norm: ("input", "num_groups", "weight", "bias", "eps"),
}


@final
class AttentionWidths(TorchFunctionMode):
    """Records the width of the heads at every call of attention, in order."""

    def __init__(self) -> None:
        """Start with none seen."""
        super().__init__()
        self.seen: list[int] = []

    def __torch_function__(
        self, func: Callable[..., Any], types: object, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        """Run the operation and remember the width of an attention's queries."""
        if func is F.scaled_dot_product_attention:
            self.seen.append(int(args[0].shape[-1]))
        return func(*args, **(kwargs or {}))


@final
class RemainingChannels(TorchFunctionMode):
    """Lets norms over channels see the remaining ones only, and attention take its default scale from their number."""

    def __init__(self, norms: Sequence[tuple[Tensor, Tensor]], widths: Sequence[int]) -> None:
        """Take what remains.

        Args:
            norms: the very scale that a norm is called with, and the positions (n,) of it that remain.
            widths: of the heads of every call of attention without the removed channels, in order.
        """
        super().__init__()
        self._positions = {id(scale): positions for scale, positions in norms}
        self._widths = iter(widths)

    def __torch_function__(
        self, func: Callable[..., Any], types: object, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        """Run the operation, a norm over channels or attention in its own way."""
        kwargs = kwargs or {}
        if func is F.scaled_dot_product_attention and kwargs.get("scale") is None:
            kwargs = {**kwargs, "scale": 1 / math.sqrt(next(self._widths))}
        if func in _NAMES:
            named = {**dict(zip(_NAMES[func], args, strict=False)), **kwargs}
            if id(named.get("weight")) in self._positions:
                return self._norm(func, named)
        return func(*args, **kwargs)

    def _norm(self, func: Callable[..., Tensor], named: dict[str, Any]) -> Tensor:
        """Return the norm over the remaining channels; the others are zero."""
        values, positions = named["input"], self._positions[id(named["weight"])]
        dimension = 1 if func is F.group_norm else values.ndim - 1
        own = {key: named[key][positions] for key in ("weight", "bias") if named.get(key) is not None}
        shape = {} if func is F.group_norm else {"normalized_shape": (len(positions),)}
        remaining = func(**{**named, **own, **shape, "input": values.index_select(dimension, positions)})
        return torch.zeros_like(values).index_copy(dimension, positions, remaining)
