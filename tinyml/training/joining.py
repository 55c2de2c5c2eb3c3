"""Joining the processes that torchrun started together, and telling the others what fails in one."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from functools import cache
from itertools import count

from torch import distributed
from torch.distributed import PrefixStore, Store, rendezvous  # type: ignore[attr-defined]  # not in its types

from tinyml.errors import ProcessError, TinymlError, UsageError, first_line
from tinyml.torchrun import Launch, launch
from tinyml.training.processes import ALONE, STEP_LIMIT, Processes

FORMING_S = 60.0
"""How long a process looks for the address at which the others are."""

MEETING_S = 300.0
"""How long the processes wait for one another once, at the start."""

_joined: list[Processes] = []  # at most one: a process is part of one group
_times = count()  # how often this process joined: each time has keys of its own in the store


@contextmanager
def joined() -> Iterator[Processes]:
    """Join the processes that torchrun started together while the context is open; within another one, give the same.

    An error is told to the others. Where the first process fails too, it alone reports, and the others raise a
    ProcessError with its exit code.

    Raises:
        UsageError: The environment is not torchrun's, or this process has a group already.
        TinymlError: The processes do not find one another.
        ProcessError: Another one failed or ended.
    """
    place = launch()
    if place.alone or _joined:
        yield _joined[0] if _joined else ALONE
        return
    if distributed.is_initialized():
        raise UsageError(f"{place} has a process group already: leave joining the processes to tinyml")
    store = PrefixStore(f"tinyml/{next(_times)}", _shared_store(place))
    processes = Processes(place, PrefixStore("run", store))
    try:
        processes.meet(limit_s=MEETING_S)
        _form_group(place, store)
        _joined.append(processes)
        yield processes
    except KeyboardInterrupt:
        raise
    except Exception as raised:
        error = _lost(raised) or raised
        with _unless_lost():
            processes.fail(error)
            if not processes.leads and (first := processes.failure_of_first()) is not None:
                raise first from error
        if error is raised:
            raise
        raise error from raised
    finally:
        _joined.clear()
        if distributed.is_initialized():
            distributed.destroy_process_group()


@cache
def _shared_store(_: Launch) -> Store:
    """Return the store that the processes of the run share, which torchrun or the first process holds."""
    try:
        store: Store
        store, _, _ = next(rendezvous("env://", timeout=timedelta(seconds=FORMING_S)))
    except (RuntimeError, ValueError) as error:
        address = f"{os.environ.get('MASTER_ADDR', 'not set')}:{os.environ.get('MASTER_PORT', 'not set')}"
        raise TinymlError(
            f"the other processes cannot be joined at {address} (MASTER_ADDR and MASTER_PORT): {first_line(error)}"
        ) from error
    return store


def _form_group(place: Launch, store: Store) -> None:
    try:
        distributed.init_process_group(
            "gloo",
            store=PrefixStore("group", store),
            rank=place.rank,
            world_size=place.world_size,
            timeout=STEP_LIMIT,
        )
    except (RuntimeError, ValueError) as error:
        raise TinymlError(
            f"the processes found one another and cannot connect: {first_line(error)}. Is GLOO_SOCKET_IFNAME the name "
            "of the network between the machines?"
        ) from error


def _lost(error: BaseException) -> ProcessError | None:
    """Return the error in our words where it says that another process is gone."""
    gone = ("Connection closed by peer", "Connection reset", "Broken pipe", "Connection refused", "gloo", "NCCL")
    if not isinstance(error, distributed.DistError) and not (
        isinstance(error, RuntimeError) and any(word in str(error) for word in gone)
    ):
        return None
    return ProcessError(
        "another process of the run ended before the work was done: see what torchrun says of it, and go on with the "
        "same command and --resume"
    )


@contextmanager
def _unless_lost() -> Iterator[None]:
    """Let nothing be told where nobody is left to hear it."""
    try:
        yield
    except distributed.DistError:
        return
