"""What makes a training repeat itself to the bit, and leaves the caller's torch as it was.

Same module, data, settings, number of threads, versions and machine give the same weights. One and two threads do not:
they add in another order. On CUDA, an operator that has no deterministic form warns and runs nevertheless.
"""

import os
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import torch
from torch.utils import deterministic as _memory


@contextmanager
def deterministic(device: torch.device) -> Iterator[None]:
    """Choose torch's deterministic algorithms while the context is open, and restore every generator after it."""
    enabled = torch.are_deterministic_algorithms_enabled()
    only_warned = torch.is_deterministic_algorithms_warn_only_enabled()
    # Filling memory that is about to be overwritten costs time and hides nothing: no operator here reads it.
    filled: bool = _memory.fill_uninitialized_memory  # type: ignore[attr-defined]  # set at runtime
    devices = [device] if device.type == "cuda" else []
    if devices:
        # Read by cuBLAS when it starts; without it some of its products differ from run to run.
        os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    with torch.random.fork_rng(devices=devices):
        torch.use_deterministic_algorithms(True, warn_only=True)
        _memory.fill_uninitialized_memory = False  # type: ignore[attr-defined]  # set at runtime
        try:
            yield
        finally:
            torch.use_deterministic_algorithms(enabled, warn_only=only_warned)
            _memory.fill_uninitialized_memory = filled  # type: ignore[attr-defined]  # set at runtime


def seed_step(seed: int, step: int, *, rank: int = 0) -> None:
    """Seed torch's generators for one step of one process, so that dropout draws the same after an interruption.

    Each process draws others: they see different images, and together must not drop the same.
    """
    value = (seed << 32) + step
    if rank:
        value = int(np.random.SeedSequence([seed, step, rank]).generate_state(1, np.uint64)[0])
    # What torch.manual_seed does for these two; for each device that is absent it would walk the stack, 0.1 ms a step.
    torch.default_generator.manual_seed(value)
    if torch.cuda.is_initialized():  # type: ignore[no-untyped-call]  # torch leaves it without types
        torch.cuda.manual_seed_all(value)
