"""compress(): the passes of a recipe, then export, verify, measure, report; every finished step can be resumed from."""

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import final

import torch
from pydantic import JsonValue

from tinyml.checkpoint import compressed_files, load_compressed, save_compressed
from tinyml.data import Task
from tinyml.errors import DataError, Refused, TinymlError
from tinyml.export import PixelNormalization, to_onnx
from tinyml.files import write_atomically
from tinyml.measure.measurement import Measurements, from_json, to_json
from tinyml.measure.suite import measure
from tinyml.passes import Compressed, Context
from tinyml.pipeline.chain import check_order
from tinyml.pipeline.describe import report_of
from tinyml.pipeline.gates import saturation_check, score_checks
from tinyml.pipeline.job import Job
from tinyml.pipeline.outcome import METRICS, MODEL, Outcome, facts_to_json, read_outcome
from tinyml.pipeline.reference import REPLAY_INPUTS, VERIFY_INPUTS, reference_of, replay_file
from tinyml.pipeline.root import BASELINE, Root, load_root
from tinyml.pipeline.target_fit import check_target
from tinyml.progress import Progress, Silent
from tinyml.recipe import PassEntry, resolved_yaml
from tinyml.report.model_card import render_model_card
from tinyml.report.page import render_page
from tinyml.report.report import LeftAlone
from tinyml.run_directory import RunDirectory
from tinyml.runtime.probe import installed_packages
from tinyml.runtime.session import require_provider
from tinyml.target import target_yaml
from tinyml.verification import Verification, verify_file
from tinyml.verification.agreement import Reference

BASELINE_STEP = "baseline"
"""The first step of every run."""


def compress(
    job: Job, output: Path, *, overwrite: bool = False, resume: bool = False, progress: Progress | None = None
) -> Outcome:
    """Run the job and return what came of it; the run directory is sealed also when a gate was missed.

    Args:
        job: what to compress, how, for what.
        output: the run directory to make.
        overwrite: replace an earlier run there once this one is finished.
        resume: go on with a killed run of the same job.
        progress: told of long work.

    Raises:
        Refused: something is wrong with the job; nothing was written.
        TinymlError: a step failed.
    """
    root = prepare(job)
    inputs = [job.checkpoint] if job.checkpoint is not None else []
    with RunDirectory.create(
        output, overwrite=overwrite, resume=resume, fingerprint=job.fingerprint(), inputs=inputs
    ) as run:
        if not run.is_done:
            try:
                _Run(job, root, run, progress or Silent()).finish()
            except Refused as error:
                if run.done(BASELINE_STEP):  # files were written: too late to be a refusal
                    raise TinymlError(str(error)) from error
                raise
    return read_outcome(run.path)


def prepare(job: Job) -> Root:
    """Return the root of the job after asking everything that can be asked before work begins.

    Raises:
        Refused: of the kind that fits.
    """
    job.check()
    root = load_root(job)
    check_order(job, root.compressed.architecture)
    context = _context(job, root, Silent())
    for entry in job.recipe.passes[:1]:  # later passes see a model that does not exist yet
        entry.settings.requires(root.compressed, context)
    check_target(root.compressed.module, job.target)
    require_provider(job.target.provider)  # after the passes: a recipe that cannot suit the target is the better cure
    return root


def _context(job: Job, root: Root, progress: Progress) -> Context:
    return Context(
        task=job.task,
        target=job.target,
        teacher=root.compressed.module,
        seed=job.seed,
        device=job.device,
        progress=progress,
    )


@final
class _Run:
    """One run while it works: every step is skipped when an earlier process finished it."""

    def __init__(self, job: Job, root: Root, run: RunDirectory, progress: Progress) -> None:
        self.job, self.root, self.run, self.progress = job, root, run, progress
        self.compressed = root.compressed
        self.left_alone: list[LeftAlone] = _inherited(job)

    def finish(self) -> None:
        """Do what is left to do and seal the directory."""
        self._step(BASELINE_STEP, self._export_baseline)
        for position, entry in enumerate(self.job.recipe.passes):
            self._pass(f"pass-{position:02d}-{entry.name}", entry)
        self._step("export", self._export)
        self._step("verify", self._verify)
        self._step("measure", self._measure)
        self._step("report", self._report)
        fields: dict[str, JsonValue] = {
            "name": self.job.recipe.name,
            "model": self.compressed.architecture.model,
            "target": target_yaml(self.job.target),
            "task": self.job.task.kind if self.job.task is not None else None,
            "seed": self.job.seed,
            "threads": self.job.threads,
            "torch_threads": torch.get_num_threads(),
            "versions": dict(installed_packages()),
            "parent": self.job.checkpoint.name if self.job.checkpoint is not None else None,
        }
        facts = facts_to_json(self._verification(), self.left_alone)
        self.run.seal({**fields, **facts})

    def _step(self, name: str, work: Callable[[], Mapping[str, JsonValue]]) -> None:
        """Do a step once; what it returns goes into the history."""
        if self.run.done(name):
            return
        said = work()
        self.run.history({"event": name, **said})
        self.run.finish(name)

    def _work(self, step: str, name: str) -> Path:
        return self.run.work(step) / name

    def _export_baseline(self) -> Mapping[str, JsonValue]:
        if self.root.baseline is not None:
            content = self.root.baseline.read_bytes()
        else:
            content = self._onnx(self.root.compressed)
        self.run.write(BASELINE, content)
        return {"size_bytes": len(content), "notes": list(self.root.notes)}

    def _pass(self, step: str, entry: PassEntry) -> None:
        """Apply one pass, or load what it gave before the run was interrupted."""

        def work() -> Mapping[str, JsonValue]:
            context = _context(self.job, self.root, self.progress)
            entry.settings.requires(before, context)
            after = entry.settings.apply(before, context)
            entry.settings.ensures(before, after)
            save_compressed(self.run.work(step), after.module.cpu(), after.architecture)
            new: list[JsonValue] = [
                {"module": item.module, "reason": item.reason, "pass_name": entry.name}
                for item in after.left_alone[len(before.left_alone) :]
            ]
            write_atomically(self._work(step, "left_alone.json"), json.dumps(new).encode())
            return {"left_alone": len(new)}

        before = self.compressed
        self._step(step, work)
        module, architecture = load_compressed(self.run.work(step))
        self.compressed = Compressed(module=module, architecture=architecture)
        self.left_alone += [LeftAlone(**item) for item in json.loads(self._work(step, "left_alone.json").read_text())]

    def _onnx(self, compressed: Compressed) -> bytes:
        task, pixels = self.job.task, None
        if self.job.recipe.export.input == "uint8" and task is not None:
            pixels = PixelNormalization(mean=task.mean, std=task.std)
        model = to_onnx(
            compressed.module, input_shape=compressed.architecture.input_shape, target=self.job.target, pixels=pixels
        )
        content: bytes = model.SerializeToString(deterministic=True)
        return content

    def _reference(self, most: int) -> Reference:
        return reference_of(
            self.compressed.module,
            self.job.task,
            pixels=self.job.recipe.export.input == "uint8",
            input_shape=self.root.input_shape,
            seed=self.job.seed,
            most=most,
        )

    def _export(self) -> Mapping[str, JsonValue]:
        weights, architecture = compressed_files(self.compressed.module, self.compressed.architecture)
        reference = self._reference(REPLAY_INPUTS)
        content = self._onnx(self.compressed)
        self.run.write("recipe.yaml", resolved_yaml(self.job.recipe).encode())
        self.run.write("architecture.json", architecture)
        self.run.write("model.safetensors", weights)
        self.run.write("reference.npz", replay_file(reference))
        self.run.write(MODEL, content)
        return {"size_bytes": len(content)}

    def _verify(self) -> Mapping[str, JsonValue]:
        path = self.run.directory / MODEL
        reference = self._reference(VERIFY_INPUTS)
        verification = verify_file(
            path,
            reference=reference,
            target=self.job.target,
            agreement=self.job.recipe.gates.agreement,
            threads=self.job.threads,
        )
        saturation = saturation_check(path, self.compressed.module, self.job.task, reference)
        checks = (*verification.checks, *((saturation,) if saturation is not None else ()))
        content = json.dumps(Verification(checks=checks).to_json(), indent=2).encode()
        write_atomically(self._work("verify", "verification.json"), content)
        return {"failed": [check.name for check in checks if check.outcome == "failed"]}

    def _measure(self) -> Mapping[str, JsonValue]:
        """Measure both files; where the data gives no score (a reconstruction that is NaN), all else is measured."""
        said: dict[str, JsonValue] = {}
        try:
            measurements = self._measure_on(self.job.task)
        except DataError as error:
            said = {"no score": str(error)}
            measurements = self._measure_on(None)
        self.run.write(METRICS, json.dumps(to_json(measurements), indent=1).encode())
        return {**said, **{metric: entry.value for metric, entry in measurements["model"].items()}}

    def _measure_on(self, task: Task | None) -> Measurements:
        return measure(
            self.run.directory / MODEL,
            baseline=self.run.directory / BASELINE,
            task=task,
            input_shape=self.root.input_shape,
            provider=self.job.target.provider,
            threads=self.job.threads,
            seed=self.job.seed,
            progress=self.progress,
        )

    def _measurements(self) -> Measurements:
        return from_json(json.loads((self.run.directory / METRICS).read_text()))

    def _verification(self) -> Verification:
        """Return the checks of the verify step, and those of the score, which only the measurements decide."""
        verification = Verification.from_json(json.loads(self._work("verify", "verification.json").read_text()))
        kind = self.job.task.kind if self.job.task is not None else None
        scores = score_checks(self._measurements(), kind, self.job.recipe.gates.max_drop_points)
        return Verification(checks=(*verification.checks, *scores))

    def _report(self) -> Mapping[str, JsonValue]:
        report = report_of(
            self.job,
            directory=self.run.directory,
            architecture=self.compressed.architecture,
            notes=self.root.notes,
            left_alone=tuple(self.left_alone),
            measurements=self._measurements(),
            verification=self._verification(),
        )
        self.run.write("report.html", render_page(report).encode())
        self.run.write("README.md", render_model_card(report).encode())
        return {"verdict": report.verdict}


def _inherited(job: Job) -> list[LeftAlone]:
    """Return what the earlier runs of the chain left alone."""
    if job.checkpoint is None or not job.checkpoint.is_dir():
        return []
    return list(read_outcome(job.checkpoint).left_alone)
