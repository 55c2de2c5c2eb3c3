"""Finished runs put side by side: read, sorted by their baselines, timed together, and asked example by example."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final, final

import numpy as np
from numpy.typing import NDArray

from tinyml.analysis.churn import Churn, churn, read_depths
from tinyml.checkpoint import ARCHITECTURE_NAME, WEIGHTS_NAME, read_architecture
from tinyml.data import Task
from tinyml.errors import CheckpointError, DataError, UsageError
from tinyml.manifest import MANIFEST_NAME, Manifest, read_manifest, verify_manifest
from tinyml.measure import measure_files
from tinyml.measure.accuracy import score
from tinyml.measure.inputs import evaluation_split
from tinyml.measure.measurement import Measurement, Measurements
from tinyml.pipeline.chain import applied_passes
from tinyml.pipeline.outcome import METRICS, MODEL, read_outcome
from tinyml.pipeline.passes_in_short import passes_in_short
from tinyml.pipeline.root import BASELINE, BASELINE_FOLDER
from tinyml.progress import Progress
from tinyml.report.run_facts import DENSE, RunFacts, RunGroup, score_of
from tinyml.report.units import share_text
from tinyml.runtime.session import open_session
from tinyml.target import parse_target

_KINDS: Final = {
    "channel_pruning": "channels",
    "weight_pruning": "sparse",
    "kmeans_quantization": "k-means",
    "linear_quantization": "linear",
    "half_precision": "float16",
    "early_exit": "exits",
}
_SAME_NETWORK: Final = 0.99  # two runtimes of one network may differ where two logits are equal but for rounding
_CONDITIONS: Final = ("cpu", "onnxruntime", "provider", "threads", "batch")


@final
@dataclass(frozen=True, kw_only=True)
class _Run:
    """A run with what tells whose baseline it has."""

    facts: RunFacts
    network: tuple[str, str]
    model: str


def read_runs(paths: Sequence[Path]) -> tuple[RunGroup, ...]:
    """Return sealed runs, those of one uncompressed network and one data together; every file is held to its hash.

    A run without a score joins the runs of its network that have one.

    Raises:
        UsageError: a directory is given twice.
        CheckpointError: one is no finished run of `compress`, or is damaged.
    """
    for index, path in enumerate(paths):
        if path.resolve() in {earlier.resolve() for earlier in paths[:index]}:
            raise UsageError(f"'{path}' is given twice: leave one out")
    folders = [path.resolve().name for path in paths]
    labels = [folder if folders.count(folder) == 1 else str(path) for folder, path in zip(folders, paths, strict=True)]
    runs = [_read(path, label, number) for number, (path, label) in enumerate(zip(paths, labels, strict=True), 1)]
    return tuple(_group(members) for members in _sorted(runs))


def comparison_notes(groups: Sequence[RunGroup], churn: Mapping[str, Churn]) -> tuple[str, ...]:
    """Return what a reader of these runs, and of their churn by label, must know before comparing them."""
    runs = [run for group in groups for run in group.runs]
    notes = []
    if len(groups) > 1:
        notes.append(
            f"{len(groups)} baselines (another network, other weights or other data): each table holds the runs of "
            "one. Points, shares and fronts mean something within a table only."
        )
    for group in groups:
        scores = [score_of(run.before) for run in group.runs]
        found = {share_text(each.value, each.n): None for each in scores if each is not None}
        if len(found) > 1:
            notes.append(f"{group.name}: its runs measured the baseline at {', '.join(found)}.")
    notes += [f"'{run.name}' was made without data: no score." for run in runs if score_of(run.after) is None]
    notes += [
        f"{label}: the depths are of another network than its baseline, which is right on the same "
        f"{share_text(found.dense_alike)} of the examples only."
        for label, found in churn.items()
        if found.dense_alike < _SAME_NETWORK
    ]
    conditions = {tuple(run.after["latency_ms"].details.get(key) for key in _CONDITIONS) for run in runs}
    if len(conditions) > 1:
        said = "; ".join(", ".join(map(str, each)) for each in sorted(conditions, key=str))
        notes.append(f"Latencies come from several machines or settings (CPU, runtime, threads, batch): {said}.")
    return tuple(notes)


def time_together(
    groups: Sequence[RunGroup], *, task: Task | None, threads: int, seed: int, progress: Progress
) -> Measurements:
    """Return latency and ratio by label of every file in one interleaved run: each group's baseline, then its runs.

    Args:
        groups: of `read_runs`.
        task: gives the inputs; random ones without.
        threads: of onnxruntime.
        seed: of the inputs and of the order.
        progress: told of the rounds.

    Raises:
        DataError: the task does not fit a file, or there is none and a run has exits.
    """
    with_exits = [run.label for group in groups for run in group.runs if "early_exits" in run.after]
    if task is None and with_exits:
        raise DataError(
            f"'{with_exits[0]}' has exits, and random numbers do not leave where examples do: give --data beside "
            "--remeasure"
        )
    files: dict[str, Path] = {}
    for group in groups:
        files[f"baseline of {group.runs[0].label}"] = Path(group.runs[0].name) / BASELINE
        files |= {run.label: Path(run.name) / MODEL for run in group.runs}
    measured = measure_files(files, task=task, threads=threads, seed=seed, progress=progress)
    kept = ("latency_ms", "latency_ratio", "latency_mean_ms", "latency_mean_ratio")
    return {
        name: {metric: entries[metric] for metric in kept if metric in entries} for name, entries in measured.items()
    }


def churn_of_runs(
    groups: Sequence[RunGroup], difficulty: Path, *, task: Task, threads: int, progress: Progress
) -> dict[str, Churn]:
    """Return by label what each run loses and gains beside its baseline; both files answer the evaluation split.

    Args:
        groups: of `read_runs`.
        difficulty: folder that `tinyml difficulty` wrote, about the same data.
        task: of classification.
        threads: of onnxruntime.
        progress: told of the batches.

    Raises:
        DataError: the folder, or a file, does not fit the task.
    """
    if task.kind != "classification":
        raise DataError(f"the task '{task.name}' is one of {task.kind}: only of classes can be said who lost which")
    name, split = evaluation_split(task)
    depths = read_depths(difficulty, name, split.y)
    right: dict[str, NDArray[np.bool_]] = {}  # by the file's hash: runs of one chain share their baseline

    def answers(run: RunFacts, file: str) -> NDArray[np.bool_]:
        digest = read_manifest(Path(run.name)).files[file].sha256
        if digest not in right:
            session = open_session(Path(run.name) / file, threads=threads)
            right[digest] = score(session, task, progress).right
        return right[digest]

    runs = [run for group in groups for run in group.runs]
    return {run.label: churn(answers(run, BASELINE), answers(run, MODEL), depths) for run in runs}


def _read(path: Path, label: str, number: int) -> _Run:
    """Return a run whose files are as they were sealed."""
    if not (path / MANIFEST_NAME).is_file():
        raise CheckpointError(f"'{path}' is no finished run directory: it has no {MANIFEST_NAME}")
    if problems := verify_manifest(path):
        raise CheckpointError(f"'{path}' is no sound run directory: {problems[0]}")
    manifest = read_manifest(path, error=CheckpointError)
    for name in (METRICS, MODEL, BASELINE, f"{BASELINE_FOLDER}/{WEIGHTS_NAME}"):
        if name not in manifest.files:
            raise CheckpointError(f"'{path}' holds no {name}: it is no run of tinyml compress; leave it out")
    outcome, architecture = read_outcome(path), read_architecture(path)
    facts = RunFacts(
        number=number,
        name=str(path),
        label=label,
        recipe=str(manifest.fields.get("name")),
        passes=passes_in_short(path / "recipe.yaml"),
        kind=", ".join(_KINDS.get(name, name) for name in applied_passes(architecture)) or DENSE,
        target=parse_target(str(manifest.fields["target"]), f"{path / MANIFEST_NAME}, target").name,
        before=outcome.measurements["baseline"],
        after=outcome.measurements["model"],
        verification=outcome.verification,
    )
    return _Run(facts=facts, network=_network(manifest), model=architecture.model)


def _network(manifest: Manifest) -> tuple[str, str]:
    """Return the hashes that say which network was compressed; its ONNX file also depends on the target."""
    weights, architecture = (
        manifest.files[f"{BASELINE_FOLDER}/{name}"].sha256 for name in (WEIGHTS_NAME, ARCHITECTURE_NAME)
    )
    return weights, architecture


def _sorted(runs: Sequence[_Run]) -> Iterator[list[_Run]]:
    """Yield the runs of each network, those of different data apart."""
    for network in dict.fromkeys(run.network for run in runs):
        own = [run for run in runs if run.network == network]
        first = next(filter(None, (_data(run.facts.after) for run in own)), ())
        homes = [_data(run.facts.after) or first for run in own]
        for home in dict.fromkeys(homes):
            yield [run for run, each in zip(own, homes, strict=True) if each == home]


def _data(measurements: Mapping[str, Measurement]) -> tuple[str, ...]:
    """Return the fingerprint, name and split of the data that gave the score; nothing where there is no score."""
    found = score_of(measurements)
    return () if found is None else tuple(str(found.details.get(key)) for key in ("fingerprint", "task", "split"))


def _group(runs: Sequence[_Run]) -> RunGroup:
    """Return the runs of one baseline as a group."""
    scored = next((run for run in runs if score_of(run.facts.before)), runs[0])
    data = _data(scored.facts.after)
    return RunGroup(
        model=scored.model,
        weights=scored.network[0][:8],
        data=f"{data[1]}, {data[2]} split" if data else "",
        before=scored.facts.before,
        runs=tuple(run.facts for run in runs),
    )
