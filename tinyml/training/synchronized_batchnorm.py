"""BatchNorm over the batches of all processes at once, so that several train as one with the whole batch would.

    mean = S(x) / N        variance = S((x - mean)^2) / N        y = (x - mean) / sqrt(variance + eps) * weight + bias

with S the sum over examples and places of every process and N their number. Ioffe and Szegedy 2015 (arXiv:1502.03167).
torch's SyncBatchNorm refuses the CPU and takes the place of the modules; here each module keeps its class, its name and
its state, and only its `forward` is another one while the context is open. One way for CPU and CUDA, tested on the CPU.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial

import torch
from torch import Tensor, distributed, nn
from torch.autograd import Function
from torch.autograd.function import FunctionCtx
from torch.nn.modules.batchnorm import _BatchNorm


@contextmanager
def synchronized_batchnorm(module: nn.Module, group: distributed.ProcessGroup) -> Iterator[None]:
    """Let every BatchNorm of the module that is in training mode normalise over the group while the context is open.

    A subclass with a forward of its own keeps it.
    """
    norms = [part for part in module.modules() if isinstance(part, _BatchNorm) and _is_torchs(part)]
    for norm in norms:
        norm.forward = partial(_forward, norm, group)  # type: ignore[method-assign]  # an attribute hides the method
    try:
        yield
    finally:
        for norm in norms:
            del norm.forward


def _is_torchs(norm: _BatchNorm) -> bool:
    return type(norm).forward is _BatchNorm.forward and "forward" not in vars(norm)


def _forward(norm: _BatchNorm, group: distributed.ProcessGroup, inputs: Tensor) -> Tensor:
    """Return what `norm` makes of its inputs (N, C, ...); in training mode, with the statistics of the whole group."""
    if not norm.training:
        return _BatchNorm.forward(norm, inputs)
    norm._check_input_dim(inputs)  # type: ignore[no-untyped-call]  # torch leaves it without types
    x = inputs.float() if inputs.dtype in (torch.float16, torch.bfloat16) else inputs
    axes = [axis for axis in range(x.ndim) if axis != 1]
    shape = [-1 if axis == 1 else 1 for axis in range(x.ndim)]  # (1, C, 1, ...)
    # Every process has the same number of examples: the batches are cut so.
    count = x.numel() // x.shape[1] * distributed.get_world_size(group)
    if count == 1:
        raise ValueError(f"Expected more than 1 value per channel when training, got input size {tuple(inputs.shape)}")
    mean = _sum(x.sum(axes), group) / count
    centred = x - mean.view(shape)
    variance = _sum(centred.square().sum(axes), group) / count
    _track(norm, mean.detach(), variance.detach() * (count / (count - 1)))
    factor = torch.rsqrt(variance + norm.eps)
    if norm.weight is not None:
        factor = factor * norm.weight
    outputs = centred * factor.view(shape)
    if norm.bias is not None:
        outputs = outputs + norm.bias.view(shape)
    return outputs.to(inputs.dtype)


def _track(norm: _BatchNorm, mean: Tensor, variance: Tensor) -> None:
    """Move the running statistics as torch does; the variance given is the unbiased one."""
    if norm.running_mean is None or norm.running_var is None or norm.num_batches_tracked is None:
        return
    norm.num_batches_tracked.add_(1)
    momentum = 1 / norm.num_batches_tracked.item() if norm.momentum is None else norm.momentum
    norm.running_mean.lerp_(mean.to(norm.running_mean.dtype), momentum)
    norm.running_var.lerp_(variance.to(norm.running_var.dtype), momentum)


def _sum(values: Tensor, group: distributed.ProcessGroup) -> Tensor:
    total: Tensor = _Sum.apply(values, group)  # type: ignore[no-untyped-call]  # torch leaves it without types
    return total


class _Sum(Function):
    """The sum of a tensor over all processes; its gradient is the sum of theirs."""

    @staticmethod
    def forward(ctx: FunctionCtx, values: Tensor, group: distributed.ProcessGroup) -> Tensor:
        """Return the sum, in a new tensor."""
        ctx.group = group  # type: ignore[attr-defined]  # torch's own way to keep something for backward
        return _summed(values, group)

    @staticmethod
    def backward(ctx: FunctionCtx, gradient: Tensor) -> tuple[Tensor, None]:
        """Return the sum of the gradients."""
        return _summed(gradient, ctx.group), None  # type: ignore[attr-defined]


def _summed(values: Tensor, group: distributed.ProcessGroup) -> Tensor:
    total = values.clone(memory_format=torch.contiguous_format)
    distributed.all_reduce(total, group=group)
    return total
