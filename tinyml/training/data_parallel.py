"""Training in several processes with torch's DistributedDataParallel, which averages the gradients.

What it wraps is not the module but the module with its objective: then what it is called for is the loss itself, so it
sees exactly which parameters the loss depends on, and an objective calls the module as it does in one process.
"""

import warnings
from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, distributed, nn
from torch.nn.parallel import DistributedDataParallel

from tinyml.training.evaluation import device_of
from tinyml.training.losses import Objective
from tinyml.training.processes import Processes
from tinyml.training.synchronized_batchnorm import synchronized_batchnorm


class _Loss(nn.Module):
    """The loss of a module as a module."""

    def __init__(self, module: nn.Module, objective: Objective) -> None:
        super().__init__()
        self.module = module
        self.objective = (objective,)  # in a tuple: an objective that is a module is none of the network's
        # torch writes a warning at each process's first step unless some parameter is unused: this one is.
        self.unused = nn.Parameter(torch.zeros(1, device=device_of(module)))

    def forward(self, inputs: Tensor, targets: Tensor) -> Tensor:
        """Return the loss of one process's part of the batch."""
        return self.objective[0](self.module, inputs, targets)


@contextmanager
def data_parallel(module: nn.Module, objective: Objective, processes: Processes) -> Iterator[Objective]:
    """Give an objective whose gradients are the mean over all processes; alone, the one that was given.

    All processes begin with the weights of the first one. While the context is open BatchNorm normalises over all of
    them, and buffers are those of the first one at every step.
    """
    if processes.place.alone:
        yield objective
        return
    group = processes.group(device_of(module))
    # Parameters may be unused (a frozen part, an exit that is not trained). That torch then keeps its first division
    # into buckets is wanted too: a training that is continued adds in the same order as one that was not interrupted.
    parallel = DistributedDataParallel(_Loss(module, objective), process_group=group, find_unused_parameters=True)

    def mean_objective(_: nn.Module, inputs: Tensor, targets: Tensor) -> Tensor:
        loss: Tensor = parallel(inputs, targets)
        return loss

    with synchronized_batchnorm(module, group), warnings.catch_warnings():
        # A gradient whose memory is laid out otherwise than its weight's (behind a parametrization) costs a copy.
        warnings.filterwarnings("ignore", message="Grad strides do not match bucket view strides")
        yield mean_objective


def equalize_buffers(module: nn.Module, processes: Processes) -> None:
    """Give the module's buffers the values of the first process: what observes activations sees others in each."""
    if processes.place.alone:
        return
    group = processes.group(device_of(module))
    for buffer in module.buffers():
        values = buffer.detach().contiguous()  # gloo and NCCL take no other memory layout
        distributed.broadcast(values, src=0, group=group)
        buffer.copy_(values)
