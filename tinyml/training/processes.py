"""The processes of one run, joined into a group: the few things that they tell one another.

torchrun starts them and torch's DistributedDataParallel averages their gradients. Beside the collectives, which all
processes must reach together, there is torchrun's key-value store: through it a process waits for another one for as
long as it takes, can be interrupted meanwhile, and hears of a failure instead of hanging.
"""

import json
import math
import time
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import TypeVar

import numpy as np
import torch
from torch import distributed
from torch.distributed import Store  # type: ignore[attr-defined]  # not in its types

from tinyml.errors import ProcessError, TinymlError, UsageError, first_line
from tinyml.torchrun import Launch

Value = TypeVar("Value")

STEP_LIMIT = timedelta(hours=2)
"""How long a process waits in one collective: the first one writes states and histories between the steps."""

_PATIENCE_S = 10.0  # within which the first process says that it failed too, where all fail alike
_INTERVAL_S = 0.05


@dataclass(frozen=True, kw_only=True)
class _Failure:
    """How a process failed."""

    exit_code: int
    message: str


class Processes:
    """The processes of a run. Alone (without a store) every method is a no-op that gives back what it was given.

    Every collective (`mean`, `broadcast`, `gathered`) must be reached by all processes, in the same order.
    """

    def __init__(self, place: Launch | None = None, store: Store | None = None) -> None:
        self.place = place or Launch()
        self._store = store
        self._met, self._told = 0, 0
        self._nccl: distributed.ProcessGroup | None = None

    @property
    def leads(self) -> bool:
        """Whether this is the process that writes and prints."""
        return self.place.leads

    @property
    def world_size(self) -> int:
        """How many processes there are."""
        return self.place.world_size

    def mean(self, value: float) -> float:
        """Return the mean of the processes' values, the same in each; NaN where one is NaN."""
        if self._store is None:
            return value
        total = torch.tensor(value, dtype=torch.float64)
        distributed.all_reduce(total)
        return total.item() / self.world_size

    def broadcast(self, value: Value) -> Value:
        """Return the first process's value in every process."""
        if self._store is None:
            return value
        values: list[Value] = [value]
        distributed.broadcast_object_list(values, src=0)
        return values[0]

    def gathered(self, values: np.ndarray) -> np.ndarray:
        """Return the arrays (N_r, ...) of all processes, joined along the first axis in the order of the ranks."""
        if self._store is None:
            return values
        parts: list[np.ndarray] = [values] * self.world_size
        distributed.all_gather_object(parts, values)
        return np.concatenate(parts)

    def share(self, count: int) -> slice:
        """Return which of `count` things fall to this process: contiguous, in the order of the ranks."""
        rank, world_size = self.place.rank, self.world_size
        return slice(count * rank // world_size, count * (rank + 1) // world_size)

    def group(self, device: torch.device) -> distributed.ProcessGroup:
        """Return the group that reduces tensors of a device: NCCL for CUDA, otherwise gloo. All must ask together."""
        whole = distributed.group.WORLD
        assert whole is not None
        if device.type != "cuda":
            return whole
        if self._nccl is None:
            torch.cuda.set_device(device)
            self._nccl = distributed.new_group(backend="nccl", timeout=STEP_LIMIT)
        return self._nccl

    def meet(self, *, limit_s: float = math.inf) -> None:
        """Wait until every process is here, so that none begins work that another one cannot do.

        Raises:
            ProcessError: One failed instead; it is named.
            TinymlError: One did not come within the limit.
        """
        if self._store is None:
            return
        self._met += 1
        self._store.set(f"met/{self._met}/{self.place.rank}", "")
        others = [rank for rank in range(self.world_size) if rank != self.place.rank]
        for rank in others:
            key = f"met/{self._met}/{rank}"
            if not self._await(key, rank, limit_s=limit_s):
                raise TinymlError(
                    f"process {rank} of {self.world_size} did not come within {limit_s:.0f} s: "
                    "look at what it says, and at --nnodes, --master-addr and --master-port of torchrun"
                )

    def agree(self, facts: Mapping[str, str]) -> None:
        """Wait until every process is here, and refuse to begin unless all have the same facts.

        Raises:
            UsageError: Something differs from the first process's; it is named with both values.
            ProcessError: Another process failed.
        """
        self.meet()
        first = self.broadcast(dict(facts))
        for name in sorted({*first, *facts}):
            if first.get(name) != facts.get(name):
                raise UsageError(
                    f"{name} is {facts.get(name, 'not set')} here and {first.get(name, 'not set')} in process 0: all "
                    "processes of a run need the same files, versions and options"
                )
        self.meet()

    def tell(self, order: object) -> None:
        """Hand something to the other processes, each of which waits in `hear`."""
        if self._store is not None:
            self._told += 1
            self._store.set(f"told/{self._told}", "")
            self.broadcast(order)

    def hear(self) -> object:
        """Wait, however long it takes, for what the first process tells.

        Raises:
            ProcessError: It failed instead.
        """
        self._told += 1
        self._await(f"told/{self._told}", 0)
        order: object = None
        return self.broadcast(order)

    def fail(self, error: BaseException) -> None:
        """Let the others know that this process failed."""
        if self._store is not None:
            exit_code = getattr(error, "exit_code", 1)
            self._store.set(f"failed/{self.place.rank}", json.dumps([exit_code, first_line(error)]))

    def failure_of_first(self) -> ProcessError | None:
        """Return how the first process failed, if it says so soon: then this one need not report the same."""
        end = time.monotonic() + _PATIENCE_S
        while time.monotonic() < end:
            if (failure := self._failure(0)) is not None:
                return self._error(0, failure)
            time.sleep(_INTERVAL_S)
        return None

    def _await(self, key: str, rank: int, *, limit_s: float = math.inf) -> bool:
        """Wait for a key that a process sets; return False where it does not within the limit."""
        assert self._store is not None
        end = time.monotonic() + limit_s
        while not self._store.check([key]):
            if (failure := self._failure(rank)) is not None:
                raise self._error(rank, failure)
            if time.monotonic() > end:
                return False
            time.sleep(_INTERVAL_S)
        return True

    def _failure(self, rank: int) -> _Failure | None:
        assert self._store is not None
        key = f"failed/{rank}"
        if not self._store.check([key]):
            return None
        exit_code, message = json.loads(self._store.get(key))
        return _Failure(exit_code=exit_code, message=message)

    def _error(self, rank: int, failure: _Failure) -> ProcessError:
        return ProcessError(f"process {rank} of {self.world_size}: {failure.message}", exit_code=failure.exit_code)


ALONE = Processes()
"""No other process."""
