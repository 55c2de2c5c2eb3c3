"""The pieces of a scan, done in this process or dealt to several, each of which builds the network for itself."""

import multiprocessing
import signal
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from typing import Final, final

import torch

from tinyml.analysis.sensitivity.changes import find_change
from tinyml.analysis.sensitivity.evidence import Evidence
from tinyml.analysis.sensitivity.scan import Piece, Scanner, ScanSettings
from tinyml.checkpoint import compressed_from_files
from tinyml.data import Task
from tinyml.errors import TinymlError

Result = tuple[int, str, list[Evidence]]
"""Batch, unit, and what it told at each level."""


@final
@dataclass(frozen=True, kw_only=True)
class Order:
    """What a worker needs to build its own scanner; nothing in it is code.

    Attributes:
        weights, architecture: the bytes of a compressed model.
        task: its validation split is what is scanned.
        pass_name: whose change.
        settings: of the scan.
        threads: of torch, in every process.
    """

    weights: bytes
    architecture: bytes
    task: Task
    pass_name: str
    settings: ScanSettings
    threads: int

    def scanner(self) -> Scanner:
        """Return the network, ready to be scanned; torch computes with the order's threads from then on."""
        torch.set_num_threads(self.threads)
        module, _ = compressed_from_files(self.weights, self.architecture)
        assert self.task.validation is not None  # whoever gave the order looked
        return Scanner(module, self.task, self.task.validation, find_change(self.pass_name), self.settings)


def results_here(scanner: Scanner, pieces: Sequence[Piece]) -> Iterator[Result]:
    """Yield the results of all pieces, done one after the other."""
    for piece in pieces:
        for unit, told in scanner.run(piece):
            yield piece.batch, unit, told


def results_of_workers(order: Order, pieces: Sequence[Piece], *, workers: int) -> Iterator[Result]:
    """Yield the results of all pieces, done by so many processes, as they come.

    Raises:
        TinymlError: A process ended before its work was done.
    """
    context = multiprocessing.get_context("spawn")  # a fork of a process in which torch has computed may hang
    others = multiprocessing.active_children()
    pool = ProcessPoolExecutor(workers, mp_context=context, initializer=_begin, initargs=(order,))
    try:
        futures: list[Future[list[Result]]] = [pool.submit(_work, piece) for piece in pieces]
        for future in as_completed(futures):
            yield from future.result()
    except BaseException as error:
        for process in set(multiprocessing.active_children()) - set(others):
            process.terminate()  # what it is at is not wanted any more, and may take long
        if not isinstance(error, BrokenProcessPool):
            raise
        raise TinymlError(
            "a worker process ended before its work was done, perhaps for want of memory: go on with --resume and "
            "fewer --workers, or a smaller --batch-size"
        ) from error
    finally:
        pool.shutdown(cancel_futures=True)


_SCANNERS: Final[list[Scanner]] = []
"""The scanner of a worker process, made when it begins."""


def _begin(order: Order) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches all; the first process says what there is to say
    _SCANNERS.append(order.scanner())


def _work(piece: Piece) -> list[Result]:
    return list(results_here(_SCANNERS[0], [piece]))
