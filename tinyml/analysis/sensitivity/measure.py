"""From a network and validation data to the curves of all its layers."""

import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final, final

import numpy as np
import torch
from pydantic import TypeAdapter

from tinyml.analysis.sensitivity.changes import CHANGES
from tinyml.analysis.sensitivity.curves import LayerCurve, Sensitivity
from tinyml.analysis.sensitivity.evidence import Evidence, divergence_of, score_of
from tinyml.analysis.sensitivity.scan import UNCHANGED, Scan, Scanner, ScanSettings
from tinyml.analysis.sensitivity.workers import Order, Result, results_here, results_of_workers
from tinyml.checkpoint import compressed_files
from tinyml.data import Split, Task
from tinyml.errors import DataError, OutputError, UsageError
from tinyml.passes import Compressed
from tinyml.progress import Progress
from tinyml.sealed_json import from_sealed_json, to_sealed_json
from tinyml.training import StateStore
from tinyml.training.evaluation import NonFiniteError, evaluate

SAVE_EVERY_S: Final = 5.0
PIECES_A_WORKER: Final = 4  # so that those that end early find more to do
UNITS_A_PIECE: Final = 8  # at most: what a piece has found is kept when it is done
_TOLD: Final = TypeAdapter(dict[int, dict[str, list[Evidence]]])


@final
@dataclass(frozen=True, kw_only=True)
class Request:
    """What to scan.

    Attributes:
        model: the network.
        task: the data; its validation split is what the scores are of.
        pass_name: in whose name layers are changed.
        settings: levels, layers, size of a batch, device.
        threads: of torch, in each process: with others the numbers may differ in the last digits of an output.
        workers: processes; the numbers do not depend on them.
    """

    model: Compressed
    task: Task
    pass_name: str
    settings: ScanSettings
    threads: int = 1
    workers: int = 1

    def scanner(self) -> Scanner:
        """Return the network, ready to be scanned.

        Raises:
            DataError: There is no validation data.
            RecipeError: As `Scanner`.
        """
        change = CHANGES[self.pass_name]
        return Scanner(self.model.module, self.task, validation_of(self.task), change, self.settings)


def validation_of(task: Task) -> Split:
    """Return the validation split.

    Raises:
        DataError: There is none.
    """
    if task.validation is None:
        raise DataError(
            f"the data '{task.name}' has no validation split, and nothing is chosen on test data: name a file in the "
            "card ('validation: FILE'), or let a share of train be it ('validation: 0.1')"
        )
    return task.validation


def with_fewer_images(task: Task, images: int, seed: int) -> Task:
    """Return the task with so many validation examples, drawn by the seed, in their order.

    Raises:
        DataError: There is no validation data.
        UsageError: There are not so many.
    """
    split = validation_of(task)
    if images > len(split):
        raise UsageError(f"--images is {images:,}, but the validation split of '{task.name}' has {len(split):,}")
    rows = np.sort(np.random.default_rng(seed).permutation(len(split))[:images])
    fewer = split.take(rows, f"{images:,} drawn from {split.source}")
    return replace(task, validation=fewer, fingerprint="")


def measure_sensitivity(
    request: Request, scanner: Scanner, *, store: StateStore | None, progress: Progress
) -> Sensitivity:
    """Return the curves of all layers.

    Args:
        request: what to scan.
        scanner: what `request.scanner()` gave.
        store: where what is known so far is kept against a kill; a scan goes on from there.
        progress: told of every layer of every batch.

    Raises:
        NonFiniteError: The network answers NaN or infinity as it is.
        TinymlError: A worker process ended early, or the disk is full.
    """
    validation = validation_of(request.task)
    scan = Scan(_saved(store))
    if scan.done() == 0:
        _check_finite(request, validation)
    whole = len(scanner.units) * scanner.batches
    saved_at = time.monotonic()
    try:
        for batch, unit, told in progress.track(
            _results(request, scanner, scan), label=f"sensitivity to {request.pass_name}", total=whole, done=scan.done()
        ):
            scan.add(batch, unit, told)
            progress.status(unit)
            if time.monotonic() - saved_at > SAVE_EVERY_S:
                _save(store, scan)
                saved_at = time.monotonic()
    finally:
        _save(store, scan)
    return _sensitivity(request, scanner, scan, validation)


def _results(request: Request, scanner: Scanner, scan: Scan) -> Iterator[Result]:
    if request.workers == 1:
        torch.set_num_threads(request.threads)
        yield from results_here(scanner, scan.missing(scanner, parts=1))
        return
    parts = max(-(-PIECES_A_WORKER * request.workers // scanner.batches), -(-len(scanner.units) // UNITS_A_PIECE))
    weights, architecture = compressed_files(request.model.module, request.model.architecture)
    order = Order(
        weights=weights,
        architecture=architecture,
        task=replace(request.task, train=None, test=None),
        pass_name=request.pass_name,
        settings=request.settings,
        threads=request.threads,
    )
    yield from results_of_workers(order, scan.missing(scanner, parts=parts), workers=request.workers)


def _check_finite(request: Request, validation: Split) -> None:
    """Refuse a network that answers nonsense as it is: on one batch, before the long work."""
    few = replace(validation, x=validation.x[:64], y=validation.y[:64])
    try:
        if request.task.kind == "classification":
            evaluate(request.model.module, request.task, few)
    except NonFiniteError as error:
        raise NonFiniteError(f"the network as it is cannot be scanned: {error}") from error


def _saved(store: StateStore | None) -> dict[int, dict[str, list[Evidence]]]:
    state = store.load() if store is not None else None
    if state is None:
        return {}
    source = Path("the state of the scan")
    return _TOLD.validate_python(from_sealed_json(state.decode(), source=source, error=OutputError)["told"])


def _save(store: StateStore | None, scan: Scan) -> None:
    if store is not None and scan.told:
        store.save(to_sealed_json({"told": _TOLD.dump_python(scan.told, mode="json")}).encode())


def _sensitivity(request: Request, scanner: Scanner, scan: Scan, validation: Split) -> Sensitivity:
    def score(unit: str, level: int) -> float:
        return score_of(request.task, scan.evidence(unit, level, scanner.batches), validation.y)

    def divergence(unit: str, level: int) -> float:
        return divergence_of(scan.evidence(unit, level, scanner.batches), len(validation))

    change, levels = CHANGES[request.pass_name], request.settings.levels
    curves = [
        LayerCurve(
            name=unit.name,
            size=unit.size,
            start=unit.start,
            levels=levels,
            scores=tuple(score(unit.name, index) for index in range(len(levels))),
            divergences=tuple(divergence(unit.name, index) for index in range(len(levels))),
        )
        for unit in scanner.units
        if unit.name != UNCHANGED
    ]
    notes = [f"{request.pass_name}: {change.note}"]
    if not scanner.split:
        notes.append("the network cannot be traced, so every score took a whole forward: slower, the same numbers")
    return Sensitivity(
        model=request.model.architecture.model,
        pass_name=request.pass_name,
        quantity=change.quantity,
        score=request.task.score_name,
        unchanged=score(UNCHANGED, 0),
        n=len(validation),
        data=f"{request.task.name}, {validation.source}",
        curves=tuple(curves),
        left_alone=scanner.left_alone,
        notes=tuple(notes),
    )
