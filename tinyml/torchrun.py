"""What torchrun told this process about the run that it is part of: read from the environment, without torch."""

import os
from dataclasses import dataclass

from tinyml.errors import UsageError


@dataclass(frozen=True, kw_only=True)
class Launch:
    """The place of this process among those of one run; a process that nobody launched so is alone.

    Attributes:
        rank: number of this process, from 0.
        world_size: processes of the run, on all machines.
        local_rank: number of this process on its machine, from 0: that of its GPU.
        local_world_size: processes of the run on this machine.
    """

    rank: int = 0
    world_size: int = 1
    local_rank: int = 0
    local_world_size: int = 1

    @property
    def alone(self) -> bool:
        """Whether there is no other process."""
        return self.world_size == 1

    @property
    def leads(self) -> bool:
        """Whether this is the process that writes and prints."""
        return self.rank == 0

    def __str__(self) -> str:
        """Return "process 1 of 2", counted from 0 as torchrun does."""
        return f"process {self.rank} of {self.world_size}"


def launch() -> Launch:
    """Return the place that the environment gives this process.

    Raises:
        UsageError: RANK and WORLD_SIZE are set, but not to a rank and a number of processes.
    """
    if "RANK" not in os.environ or "WORLD_SIZE" not in os.environ:
        return Launch()
    rank, world_size = _number("RANK", 0), _number("WORLD_SIZE", 1)
    if world_size < 1 or not 0 <= rank < world_size:
        raise UsageError(
            f"RANK is {rank} and WORLD_SIZE {world_size}: start the processes with torchrun, or unset both"
        )
    return Launch(
        rank=rank,
        world_size=world_size,
        local_rank=_number("LOCAL_RANK", 0),
        local_world_size=_number("LOCAL_WORLD_SIZE", 1),
    )


def _number(name: str, default: int) -> int:
    text = os.environ.get(name, str(default))
    if not text.isdecimal():
        raise UsageError(
            f"{name} is {text!r}, a whole number is needed: start the processes with torchrun, or unset it"
        )
    return int(text)
