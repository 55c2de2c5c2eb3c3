"""The tensors of a module, copied out, copied back, and averaged over the steps of a training."""

import hashlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

import torch
from torch import Tensor, nn

Tensors = dict[str, Tensor]


def copy_out(module: nn.Module) -> Tensors:
    """Return copies, on the CPU and contiguous, of every parameter and buffer that the module saves."""
    return {name: stored(tensor) for name, tensor in module.state_dict().items() if isinstance(tensor, Tensor)}


def copy_into(module: nn.Module, tensors: Mapping[str, Tensor]) -> None:
    """Overwrite the module's tensors with the given ones, keeping the memory layout and the device of its own."""
    own = module.state_dict()
    with torch.no_grad():
        for name, tensor in tensors.items():
            own[name].copy_(tensor)


def stored(tensor: Tensor) -> Tensor:
    """Return a copy that shares no memory: on the CPU and contiguous."""
    return tensor.detach().to("cpu", copy=True).contiguous()


def digest(module: nn.Module) -> str:
    """Return the SHA-256 of the names, types, shapes and values of the module's tensors."""
    total = hashlib.sha256()
    for name, tensor in sorted(copy_out(module).items()):
        total.update(f"{name} {tensor.dtype} {tuple(tensor.shape)};".encode())
        if tensor.numel():
            total.update(tensor.reshape(-1).view(torch.uint8).numpy().tobytes())
    return total.hexdigest()


class AveragedWeights:
    """An exponential moving average of the parameters: a <- d a + (1 - d) p, with d = min(decay, (1 + s) / (10 + s)).

    s counts the steps from 0: the smaller d at the start forgets the untrained weights sooner. Buffers are not
    averaged: masks must stay masks, and BatchNorm's statistics are averages already. Nor is what does not require a
    gradient: it keeps its bytes. After Polyak and Juditsky 1992.
    """

    def __init__(self, module: nn.Module, decay: float) -> None:
        self.decay = decay
        averaged = [(name, p) for name, p in module.named_parameters() if decay > 0 and p.requires_grad]
        self.tensors = {name: parameter.detach().clone() for name, parameter in averaged}

    def update(self, module: nn.Module, step: int) -> None:
        """Take in the parameters after step number `step`."""
        decay = min(self.decay, (1 + step) / (10 + step))
        with torch.no_grad():
            parameters = dict(module.named_parameters())
            for name, average in self.tensors.items():
                average.lerp_(parameters[name], 1 - decay)

    @contextmanager
    def shown(self, module: nn.Module) -> Iterator[None]:
        """Put the averages in the place of the module's parameters while the context is open."""
        kept = {name: p.detach().clone() for name, p in module.named_parameters() if name in self.tensors}
        _overwrite(module, self.tensors)
        try:
            yield
        finally:
            _overwrite(module, kept)


def _overwrite(module: nn.Module, tensors: Mapping[str, Tensor]) -> None:
    with torch.no_grad():
        for name, parameter in module.named_parameters():
            if name in tensors:
                parameter.copy_(tensors[name])
