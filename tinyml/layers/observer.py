"""What calibration remembers of one value: its exact extremes and a random sample of bounded size."""

import torch
from torch import Tensor

SAMPLE_SIZE = 2**15


class RangeObserver:
    """Sees every calibration batch of one value, (N, ...) float32 each.

    Attributes:
        low, high: the extremes seen so far; infinite before the first batch, NaN once a NaN was seen.
    """

    def __init__(self, *, batches: int, generator: torch.Generator, sample: bool = True) -> None:
        self.low, self.high = float("inf"), float("-inf")
        self._per_batch = max(SAMPLE_SIZE // batches, 1) if sample else 0
        self._generator = generator
        self._samples: list[Tensor] = []

    @property
    def seen(self) -> bool:
        """Whether the value ever occurred."""
        return self.low <= self.high or self.low != self.low

    def observe(self, x: Tensor) -> None:
        """Take in one batch."""
        if x.ndim == 4 and x.is_contiguous(memory_format=torch.channels_last):
            x = x.permute(0, 2, 3, 1)  # the order in memory: reshape then copies nothing
        low, high = torch.aminmax(x.detach())
        self.low, self.high = _lower(self.low, float(low)), -_lower(-self.high, -float(high))
        if self._per_batch:
            flat = x.detach().reshape(-1)
            chosen = torch.randint(flat.numel(), (min(self._per_batch, flat.numel()),), generator=self._generator)
            self._samples.append(flat[chosen.to(flat.device)].float().cpu())

    def sample(self) -> Tensor:
        """Return the sampled values, one dimension, drawn evenly from every batch."""
        return torch.cat(self._samples) if self._samples else torch.empty(0)


def _lower(first: float, second: float) -> float:
    """Return the smaller one; NaN when either is NaN."""
    return second if second != second or second < first else first
