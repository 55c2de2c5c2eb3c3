"""The device that a user asked for, if this machine has it."""

import torch

from tinyml.errors import UsageError
from tinyml.torchrun import launch


def find_device(name: str) -> torch.device:
    """Return the device of a name such as 'cpu', 'cuda' or 'cuda:1'.

    Of several processes on a machine each gets a GPU of its own: 'cuda' is the one with its local rank.

    Raises:
        UsageError: This machine, or this build of torch, does not have it; what it has is listed. Or several processes
            on it were told to share one GPU.
    """
    present = ["cpu", *(f"cuda:{index}" for index in range(torch.cuda.device_count()))]
    device, place = torch.device(name), launch()
    if device.type != "cpu" and place.local_world_size > 1:
        if device.index is not None:
            raise UsageError(
                f"device '{name}' cannot serve {place.local_world_size} processes: say cuda, and each takes its own GPU"
            )
        device = torch.device(device.type, place.local_rank)
    if device.type != "cpu" and f"{device.type}:{device.index or 0}" not in present:
        raise UsageError(f"there is no device '{device}' here; allowed: {', '.join(present)}")
    return device
