"""The arithmetic of a training's forward and loss: float32, or 16 bits where torch allows it for an operator.

The weights, their gradients, the optimizer and every evaluation stay float32 (Micikevicius et al. 2018,
arXiv:1710.03740). float16 has few exponents: the loss is multiplied by a scale S before the gradient is taken, and the
gradient divided by S after it. Where it overflowed, the step is left out and S halved; S doubles after 2000 steps
without that.
"""

import warnings
from contextlib import AbstractContextManager, nullcontext

import torch
from torch import Tensor
from torch.optim import Optimizer

from tinyml.errors import UsageError, first_line
from tinyml.training.evaluation import NonFiniteError
from tinyml.training.settings import Precision
from tinyml.training.weights import Tensors

MAX_SKIPPED = 20
"""Steps in a row that may overflow: S falls by 2^20, from 2^16; a gradient that still overflows is not one of size."""


class Arithmetic:
    """The precision of one training, with the scale of its losses.

    Attributes:
        scaled: Whether the loss is scaled, so that a gradient which overflows is expected now and then.
        skipped: Steps in a row, up to the last one, that were left out because the gradient overflowed.
    """

    def __init__(self, precision: Precision, device: torch.device) -> None:
        self._dtype = dtype_of(precision)
        self._device = device
        self.scaled = self._dtype == torch.float16
        self.skipped = 0
        self._scaler = torch.amp.GradScaler(device.type, enabled=self.scaled)

    def lowered(self) -> AbstractContextManager[object]:
        """Return the context in which the forward and the loss are computed."""
        return nullcontext() if self._dtype == torch.float32 else torch.autocast(self._device.type, dtype=self._dtype)

    def backward(self, loss: Tensor, optimizer: Optimizer) -> None:
        """Leave the gradients of the loss, no longer scaled, in the parameters of the optimizer."""
        self._scaler.scale(loss).backward()  # type: ignore[no-untyped-call]  # torch leaves it without types
        if self.scaled:
            self._scaler.unscale_(optimizer)

    def step(self, optimizer: Optimizer) -> None:
        """Step the optimizer, unless the scaled gradient overflowed.

        Raises:
            NonFiniteError: It did so in `MAX_SKIPPED` steps in a row.
        """
        scale = self._scaler.get_scale()
        self._scaler.step(optimizer)
        self._scaler.update()
        self.skipped = self.skipped + 1 if self._scaler.get_scale() < scale else 0
        if self.skipped >= MAX_SKIPPED:
            raise NonFiniteError(f"the gradient is not finite in float16, {self.skipped} steps in a row")

    def tensors(self) -> Tensors:
        """Return what `restore` needs, by name; nothing where losses are not scaled."""
        state = self._scaler.state_dict() | ({"skipped": self.skipped} if self.scaled else {})
        return {name: torch.tensor(value, dtype=torch.float64) for name, value in state.items()}

    def restore(self, tensors: Tensors) -> None:
        """Continue from what `tensors` returned."""
        if self.scaled:
            state = {name: tensor.item() for name, tensor in tensors.items()}
            self.skipped = int(state.pop("skipped"))
            whole = {"growth_interval", "_growth_tracker"}
            self._scaler.load_state_dict({name: int(n) if name in whole else n for name, n in state.items()})


def dtype_of(precision: Precision) -> torch.dtype:
    """Return torch's type of a precision."""
    dtypes: dict[Precision, torch.dtype] = {
        "float32": torch.float32,
        "bfloat16": torch.bfloat16,
        "float16": torch.float16,
    }
    return dtypes[precision]


def check_precision(precision: Precision, device: torch.device) -> None:
    """Raise unless the device computes in the precision; one product of two numbers tells.

    Raises:
        UsageError: It does not.
    """
    if precision == "float32":
        return
    reason = ""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # torch warns where it falls back to float32: seen by the type below
            with torch.autocast(device.type, dtype=dtype_of(precision)):
                one = torch.ones(1, 1, device=device)
                if (one @ one).dtype == dtype_of(precision):
                    return
    except RuntimeError as error:
        reason = f": {first_line(error)}"
    raise UsageError(f"device '{device}' does not train in precision {precision}{reason}. Use precision float32")
