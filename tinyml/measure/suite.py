"""Measure files side by side: every metric of the table on each, all latencies in one interleaved run."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from tinyml.data.task import Task
from tinyml.errors import UsageError
from tinyml.measure.accuracy import Scores, score
from tinyml.measure.exits import ExitScores, score_exits
from tinyml.measure.inputs import evaluation_split, input_stream
from tinyml.measure.latency import Contender, run_latency
from tinyml.measure.measurement import Measurement, Measurements
from tinyml.measure.network import read_network
from tinyml.measure.table import METRICS, Subject
from tinyml.measure.under_way import failures_under_way
from tinyml.progress import Progress, Silent
from tinyml.runtime.one_by_one import takes_exits
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
        TinymlError: a file that ran on its first input failed on a later one.
    """
    if not files:
        raise UsageError("There is nothing to measure; give one or more ONNX files or run directories.")
    progress = progress or Silent()
    networks = {name: read_network(path, input_shape) for name, path in files.items()}
    sessions = {name: open_session(path, provider=provider, threads=threads) for name, path in files.items()}
    first = next(iter(files))
    control = open_session(files[first], provider=provider, threads=threads)
    exits = any(map(takes_exits, sessions.values()))
    streams = {
        name: input_stream(session, task=task, input_shape=input_shape, batch=batch, seed=seed, every_call=exits)
        for name, session in sessions.items()
    }
    contenders = {name: _run_once(session, streams[name]) for name, session in sessions.items()}
    with failures_under_way():
        scores = _scores(sessions, task, progress)
        at_exits = _at_exits(files, scores, task, progress, provider=provider, threads=threads)
        latencies = run_latency(
            contenders, control, inputs_are=_words(task), seed=seed, settings=settings, progress=progress
        )
        subjects = {
            name: Subject(
                network=networks[name], session=session, latency=latencies[name], task=task, scores=scores.get(name),
                baseline_scores=scores.get(first) if name != first else None, beside_exits=exits,
                exits=at_exits.get(name), seed=seed, progress=progress,
            )
            for name, session in sessions.items()
        }  # fmt: skip
        return {name: measure_subject(subject) for name, subject in subjects.items()}


def _run_once(session: Session, inputs: list[NDArray[Any]]) -> Contender:
    """Return what is to be timed, once it ran on its first input: what it refuses is refused before work begins."""
    session.run(inputs[0])
    return Contender(session=session, inputs=inputs)


def _scores(sessions: Mapping[str, Session], task: Task | None, progress: Progress) -> dict[str, Scores]:
    """Return which examples each classifier gets right; nothing without a task of classification."""
    if task is None or task.kind != "classification":
        return {}
    return {name: score(session, task, progress) for name, session in sessions.items()}


def _at_exits(
    files: Mapping[str, Path],
    scores: Mapping[str, Scores],
    task: Task | None,
    progress: Progress,
    *,
    provider: str,
    threads: int,
) -> dict[str, ExitScores]:
    """Return what each exit makes of the examples, of those files that have exits and were scored."""
    if task is None:
        return {}
    return {
        name: score_exits(files[name], scored, task, progress, provider=provider, threads=threads)
        for name, scored in scores.items()
        if len(scored.taken)
    }


def _words(task: Task | None) -> str:
    """Return what the timed inputs are, in words."""
    return "random" if task is None else f"{evaluation_split(task)[0]} examples of {task.name}"


def measure_subject(subject: Subject) -> dict[str, Measurement]:
    """Return every metric of the table that the subject has what is needed for."""
    kinds = {"file"} | ({subject.task.kind} if subject.task is not None else set())
    if subject.baseline_scores is not None:
        kinds.add("paired classification")
    if subject.beside_exits and subject.task is not None:  # random numbers do not leave where examples do
        kinds.add("stream")
    if subject.exits is not None:
        kinds.add("exits")
    return {name: row.measure(subject) for name, row in METRICS.items() if row.needs in kinds}
