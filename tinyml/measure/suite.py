"""Measure files side by side: every metric of the table on each, all latencies in one interleaved run."""

from collections.abc import Mapping
from pathlib import Path

from tinyml.data.task import Task
from tinyml.errors import UsageError
from tinyml.measure.accuracy import Scores, score
from tinyml.measure.inputs import evaluation_split, input_stream
from tinyml.measure.latency import Contender, LatencyRun, run_latency
from tinyml.measure.measurement import Measurement, Measurements
from tinyml.measure.network import read_network
from tinyml.measure.table import METRICS, Subject
from tinyml.progress import Progress, Silent
from tinyml.runtime.session import CPU, Session, open_session
from tinyml.runtime.timer import TimerSettings


def measure(
    model: Path,
    *,
    baseline: Path | None = None,
    task: Task | None = None,
    input_shape: tuple[int, ...] = (),
    provider: str = CPU,
    threads: int = 1,
    seed: int = 0,
    progress: Progress | None = None,
    settings: TimerSettings | None = None,
) -> Measurements:
    """Return {"baseline": {metric: Measurement}, "model": {...}}; without a baseline only "model", timed beside a copy.

    Args:
        model: the ONNX file that ships.
        baseline: the ONNX file to compare with.
        task: gives the accuracy and the inputs that are timed; random inputs without.
        input_shape: shape of one input without the batch, for dimensions that a file leaves open.
        provider: onnxruntime's execution provider.
        threads: threads inside an operator.
        seed: of the inputs drawn, the order of the blocks and the bootstraps.
        progress: told of long work.
        settings: how long and how often to time.

    Raises:
        CheckpointError, TargetError, DataError: as `measure_files`.
    """
    files = {"model": model} if baseline is None else {"baseline": baseline, "model": model}
    return measure_files(
        files,
        task=task,
        input_shape=input_shape,
        provider=provider,
        threads=threads,
        seed=seed,
        progress=progress,
        settings=settings,
    )


def measure_files(
    files: Mapping[str, Path],
    *,
    task: Task | None = None,
    input_shape: tuple[int, ...] = (),
    provider: str = CPU,
    threads: int = 1,
    batch: int = 1,
    seed: int = 0,
    progress: Progress | None = None,
    settings: TimerSettings | None = None,
) -> Measurements:
    """Return every metric of every file, by the names given; the first is the baseline of ratios and differences.

    Args:
        files: ONNX files by name.
        task: gives the accuracy and the inputs that are timed; random inputs without.
        input_shape: shape of one input without the batch, for dimensions that a file leaves open.
        provider: onnxruntime's execution provider.
        threads: threads inside an operator.
        batch: examples in one timed call; everything else is counted for one.
        seed: of the inputs drawn, the order of the blocks and the bootstraps.
        progress: told of long work.
        settings: how long and how often to time.

    Raises:
        UsageError: no file is given, or a file fixes another batch.
        CheckpointError: a file is missing, damaged or not ONNX.
        TargetError: the provider is not here, or a file is too new for this onnxruntime.
        DataError: the task does not fit a file.
    """
    if not files:
        raise UsageError("There is nothing to measure; give one or more ONNX files or run directories.")
    progress = progress or Silent()
    networks = {name: read_network(path, input_shape) for name, path in files.items()}
    sessions = {name: open_session(path, provider=provider, threads=threads) for name, path in files.items()}
    scores: dict[str, Scores] = {}
    if task is not None and task.kind == "classification":
        scores = {name: score(session, task, progress) for name, session in sessions.items()}
    latencies = _time(
        files, sessions, task=task, input_shape=input_shape, batch=batch, seed=seed, progress=progress,
        settings=settings, provider=provider,
    )  # fmt: skip
    first = next(iter(files))
    return {
        name: measure_subject(
            Subject(
                network=networks[name],
                session=sessions[name],
                latency=latencies[name],
                task=task,
                scores=scores.get(name),
                baseline_scores=scores.get(first) if name != first else None,
                seed=seed,
                progress=progress,
            )
        )
        for name in files
    }


def measure_subject(subject: Subject) -> dict[str, Measurement]:
    """Return every metric of the table that the subject has what is needed for."""
    kinds = {"file"} | ({subject.task.kind} if subject.task is not None else set())
    if subject.baseline_scores is not None:
        kinds.add("paired classification")
    return {name: row.measure(subject) for name, row in METRICS.items() if row.needs in kinds}


def _time(
    files: Mapping[str, Path],
    sessions: Mapping[str, Session],
    *,
    task: Task | None,
    input_shape: tuple[int, ...],
    batch: int,
    seed: int,
    progress: Progress,
    settings: TimerSettings | None,
    provider: str,
) -> dict[str, LatencyRun]:
    """Return the times of all files, from one interleaved run with a second session of the first file as control."""
    first = next(iter(files))
    control = open_session(files[first], provider=provider, threads=sessions[first].threads)
    contenders = {
        name: Contender(
            session=session,
            inputs=input_stream(session, task=task, input_shape=input_shape, batch=batch, seed=seed),
        )
        for name, session in sessions.items()
    }
    inputs_are = "random" if task is None else f"{evaluation_split(task)[0]} examples of {task.name}"
    return run_latency(contenders, control, inputs_are=inputs_are, seed=seed, settings=settings, progress=progress)
