"""Collect what the report says about a run from the files in its directory."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import fields
from pathlib import Path

import torch
from pydantic import JsonValue, TypeAdapter

from tinyml.analysis.onnx_weights import weights_of
from tinyml.analysis.weights import histogram_pairs
from tinyml.architecture import Architecture, AttachExits
from tinyml.measure.inputs import evaluation_split
from tinyml.measure.measurement import Measurements
from tinyml.measure.profile import profile_file
from tinyml.pipeline.exit_files import read_choice
from tinyml.pipeline.job import Job
from tinyml.pipeline.outcome import METRICS, MODEL
from tinyml.pipeline.root import BASELINE
from tinyml.recipe import resolved_yaml
from tinyml.report.comparison import compare_measurements
from tinyml.report.exits import ExitFacts, exit_facts
from tinyml.report.layers import layer_rows
from tinyml.report.ledger import ledger_rows
from tinyml.report.line_chart import LineChart
from tinyml.report.report import HistoryEvent, InputFacts, LeftAlone, Report, TargetFacts
from tinyml.report.training_curves import training_curves
from tinyml.runtime.probe import installed_packages, probe_machine
from tinyml.runtime.session import CPU
from tinyml.target import cpu_target
from tinyml.training import EpochRecord
from tinyml.verification import Verification

HISTORY = "history.jsonl"
EPOCH = "epoch"
"""The event of one epoch of a pass that trains: its fields are those of EpochRecord."""


def report_of(
    job: Job,
    *,
    directory: Path,
    architecture: Architecture,
    notes: tuple[str, ...],
    left_alone: tuple[LeftAlone, ...],
    measurements: Measurements,
    verification: Verification,
) -> Report:
    """Return the report of a run whose files lie in `directory`; the layers of both files are profiled for it."""
    files = [directory / BASELINE, directory / MODEL]
    shape = architecture.input_shape
    before, after = (
        profile_file(
            path, task=job.task, input_shape=shape, provider=job.target.provider, threads=job.threads, seed=job.seed
        )
        for path in files
    )
    weights = [weights_of(path, shape) for path in files]
    events = _events(directory / HISTORY)
    return Report(
        name=job.recipe.name,
        model=architecture.model,
        data=_data(job),
        command=job.command,
        recipe_yaml=resolved_yaml(job.recipe),
        target=TargetFacts(name=job.target.name, summary=job.target.summary, provider=job.target.provider),
        input=_input(job, shape),
        classes=job.task.classes if job.task is not None else (),
        comparison=compare_measurements(measurements, reasons=_reasons(job)),
        verification=verification.checks,
        layers=layer_rows(before, after, *weights),
        histograms=histogram_pairs(*weights),
        latency_before_ms=measurements["baseline"]["latency_ms"].samples,
        latency_after_ms=measurements["model"]["latency_ms"].samples,
        left_alone=left_alone,
        exits=_exits(directory, architecture, measurements),
        ledger=ledger_rows(measurements["baseline"]["size_bytes"], measurements["model"]["size_bytes"]),
        notes=(*notes, *_foreign(job)),
        calibration=_calibration(job),
        machine=_machine(),
        versions=installed_packages(),
        seed=job.seed,
        threads=job.threads,
        charts=_curves(events, job),
        history=_history(events),
        raw={METRICS: (directory / METRICS).read_text()},
    )


def _exits(directory: Path, architecture: Architecture, measurements: Measurements) -> ExitFacts | None:
    choice = read_choice(directory)
    if choice is None:
        return None
    attached = next(edit for edit in architecture.edits if isinstance(edit, AttachExits))
    return exit_facts(measurements["model"], choice, [spec.name for spec in attached.exits])


def _data(job: Job) -> str:
    if job.task is None:
        return ""
    name, split = evaluation_split(job.task)
    return f"{job.task.name}, {name} split, {len(split):,} examples ({split.source})"


def _reasons(job: Job) -> dict[str, str]:
    reason = "no --data was given" if job.task is None else "the data gave no score; the history says why"
    return {"accuracy": reason}


def _input(job: Job, shape: tuple[int, ...]) -> InputFacts:
    mean, std = (job.task.mean, job.task.std) if job.task is not None else ((), ())
    if job.recipe.export.input == "uint8":
        return InputFacts(shape=(*shape[1:], shape[0]), dtype="uint8", mean=mean, std=std)
    return InputFacts(shape=shape, mean=mean, std=std)


def _calibration(job: Job) -> dict[str, str]:
    """Return the settings of the first pass that calibrates, by name, without those of no effect; empty without one."""
    for entry in job.recipe.passes:
        settings = getattr(entry.settings, "calibration", None)
        if settings is not None and job.task is not None:
            said = {name: str(value) for name, value in vars(settings).items() if value is not None}
            said["images from"] = job.task.calibration_split.source
            if "indices" in said:  # all that the file names, and none is drawn
                return {name: value for name, value in said.items() if name != "images"}
            return {**said, "seed": str(job.seed)}
    return {}


def _foreign(job: Job) -> tuple[str, ...]:
    """Return a note where the file was made for another processor than the one that measured it."""
    machine = probe_machine()
    here = cpu_target(machine.cpu.architecture, saturates=machine.int8_saturates)
    if job.target.provider != CPU or job.target.name == here:
        return ()
    return (f"made for {job.target.name}, measured on {machine.cpu.name} ({here}): the latency is this machine's",)


def _machine() -> dict[str, str]:
    machine = probe_machine()
    cpu = machine.cpu
    return {
        "CPU": cpu.name,
        "system": machine.system,
        "threads of torch": str(torch.get_num_threads()),
        "int8": "saturates at 16 bits" if machine.int8_saturates else "does not saturate",
    }


def _events(path: Path) -> list[dict[str, JsonValue]]:
    """Return what happened so far, line by line."""
    return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []


def _history(events: Sequence[Mapping[str, JsonValue]]) -> tuple[HistoryEvent, ...]:
    """Return the events as they are told; those of single epochs are drawn as curves instead."""
    told = []
    for facts in events:
        if _is_epoch(facts):
            continue
        rest = {key: value for key, value in facts.items() if key not in ("at", "event")}
        said = ", ".join(f"{key}: {value}" for key, value in rest.items() if value not in ([], {}))
        told.append(HistoryEvent(time=str(facts["at"]), event=str(facts["event"]), details=said))
    return tuple(told)


def _curves(events: Sequence[Mapping[str, JsonValue]], job: Job) -> tuple[LineChart, ...]:
    """Return the curves of every step that trained, in their order."""
    epochs: dict[str, list[EpochRecord]] = {}
    for facts in events:
        if _is_epoch(facts):
            record = {field.name: facts[field.name] for field in fields(EpochRecord)}
            epochs.setdefault(str(facts["pass"]), []).append(TypeAdapter(EpochRecord).validate_python(record))
    score = job.task.score_name if job.task is not None else ""
    return tuple(chart for step, done in epochs.items() for chart in training_curves(step, done, score=score))


def _is_epoch(facts: Mapping[str, JsonValue]) -> bool:
    """Return whether the event is an epoch that can be drawn; a user's own pass may record others under that name."""
    return facts["event"] == EPOCH and {"pass", *(field.name for field in fields(EpochRecord))} <= facts.keys()
