"""Collect what the report says about a run from the files in its directory."""

import json
from pathlib import Path

from tinyml.analysis.onnx_weights import weights_of
from tinyml.analysis.weights import histogram_pairs
from tinyml.architecture import Architecture
from tinyml.measure.inputs import evaluation_split
from tinyml.measure.measurement import Measurements
from tinyml.measure.profile import profile_file
from tinyml.pipeline.job import Job
from tinyml.pipeline.outcome import METRICS, MODEL
from tinyml.pipeline.root import BASELINE
from tinyml.recipe import resolved_yaml
from tinyml.report.comparison import compare_measurements
from tinyml.report.layers import layer_rows
from tinyml.report.report import HistoryEvent, InputFacts, LeftAlone, Report, TargetFacts
from tinyml.runtime.probe import installed_packages, probe_machine
from tinyml.runtime.session import CPU
from tinyml.target import cpu_target
from tinyml.verification import Verification

HISTORY = "history.jsonl"


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
        notes=(*notes, *_foreign(job)),
        calibration=_calibration(job),
        machine=_machine(),
        versions=installed_packages(),
        seed=job.seed,
        threads=job.threads,
        history=_history(directory / HISTORY),
        raw={METRICS: (directory / METRICS).read_text()},
    )


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
    """Return the settings of the first pass that calibrates, by name; empty where none does."""
    for entry in job.recipe.passes:
        settings = getattr(entry.settings, "calibration", None)
        if settings is not None and job.task is not None:
            said = {name: str(value) for name, value in vars(settings).items()}
            return {**said, "images from": job.task.calibration_split.source, "seed": str(job.seed)}
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
        "int8": "saturates at 16 bits" if machine.int8_saturates else "does not saturate",
    }


def _history(path: Path) -> tuple[HistoryEvent, ...]:
    lines = path.read_text().splitlines() if path.exists() else []
    events = []
    for line in lines:
        facts = json.loads(line)
        rest = {key: value for key, value in facts.items() if key not in ("at", "event")}
        said = ", ".join(f"{key}: {value}" for key, value in rest.items() if value not in ([], {}))
        events.append(HistoryEvent(time=facts["at"], event=facts["event"], details=said))
    return tuple(events)
