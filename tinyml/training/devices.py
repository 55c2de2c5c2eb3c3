"""The device that a user asked for, if this machine has it."""

import torch

from tinyml.errors import UsageError


def find_device(name: str) -> torch.device:
    """Return the device of a name such as 'cpu', 'cuda' or 'cuda:1'.

    Raises:
        UsageError: This machine, or this build of torch, does not have it; what it has is listed.
    """
    present = ["cpu", *(f"cuda:{index}" for index in range(torch.cuda.device_count()))]
    device = torch.device(name)
    index = device.index or 0
    if device.type != "cpu" and f"{device.type}:{index}" not in present:
        raise UsageError(f"there is no device '{name}' here; allowed: {', '.join(present)}")
    return device
