"""compress(): the passes of a recipe, then export, verify, measure, report; every finished step can be resumed from."""

import json
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import final

import onnx
import torch
from pydantic import JsonValue

from tinyml.checkpoint import ARCHITECTURE_NAME, WEIGHTS_NAME, compressed_files, load_compressed, save_compressed
from tinyml.data import Task
from tinyml.errors import DataError, Refused, TinymlError
from tinyml.export import Nonzeros, PixelNormalization, to_onnx
from tinyml.files import write_atomically
from tinyml.measure.measurement import Measurements, from_json, to_json
from tinyml.measure.suite import measure
from tinyml.passes import Compressed
from tinyml.pipeline.describe import report_of
from tinyml.pipeline.exit_files import exit_goal, goal_checks, make_exit_files, policy_of, stages_of
from tinyml.pipeline.follow import call_to_train, follow
from tinyml.pipeline.gates import saturation_check, score_checks
from tinyml.pipeline.job import Job
from tinyml.pipeline.outcome import METRICS, MODEL, Outcome, facts_to_json, read_outcome
from tinyml.pipeline.prepare import context_of, prepare
from tinyml.pipeline.reference import REPLAY_INPUTS, VERIFY_INPUTS, reference_of, replay_file
from tinyml.pipeline.root import BASELINE, BASELINE_FOLDER, Root
from tinyml.progress import Progress, Silent
from tinyml.recipe import PassEntry, resolved_yaml
from tinyml.report.model_card import render_model_card
from tinyml.report.page import render_page
from tinyml.report.report import LeftAlone
from tinyml.run_directory import RunDirectory
from tinyml.runtime.probe import installed_packages
from tinyml.target import target_yaml
from tinyml.training import ALONE, Processes, joined
from tinyml.verification import Verification, verify_file
from tinyml.verification.agreement import Reference

BASELINE_STEP = "baseline"
"""The first step of every run."""


def compress(
    job: Job, output: Path, *, overwrite: bool = False, resume: bool = False, progress: Progress | None = None
) -> Outcome:
    """Run the job and return what came of it; the run directory is sealed also when a gate was missed.

    Called in each of several processes that torchrun started, they train together; the first one does all else and
    writes. Each returns the same.

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
    with joined() as processes:
        root, fingerprint = prepare(job, processes), job.fingerprint()
        processes.agree(fingerprint)
        if not processes.leads:
            return follow(job.recipe, context_of(job, root, Silent(), processes))
        with RunDirectory.create(
            output, overwrite=overwrite, resume=resume, fingerprint=fingerprint, inputs=job.inputs
        ) as run:
            if not run.is_done:
                _Run(job, root, run, progress or Silent(), processes).finish()
        outcome = read_outcome(run.path)
        processes.tell(outcome)
        return outcome


@final
class _Run:
    """One run while it works: every step is skipped when an earlier process finished it."""

    def __init__(self, job: Job, root: Root, run: RunDirectory, progress: Progress, processes: Processes) -> None:
        self.job, self.root, self.run, self.progress, self.processes = job, root, run, progress, processes
        self.compressed = root.compressed
        self.left_alone: list[LeftAlone] = _inherited(job)

    def finish(self) -> None:
        """Do what is left to do and seal the directory."""
        try:
            self._finish()
        except Refused as error:
            if self.run.done(BASELINE_STEP):  # files were written: too late to be a refusal
                raise TinymlError(str(error)) from error
            raise

    def _finish(self) -> None:
        self._step(BASELINE_STEP, self._export_baseline)
        for position, entry in enumerate(self.job.recipe.passes):
            self._pass(f"pass-{position:02d}-{entry.name}", entry, position)
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
        root = self.root
        if root.baseline is not None:
            weights, architecture, content = (
                (root.baseline / name).read_bytes() for name in (WEIGHTS_NAME, ARCHITECTURE_NAME, MODEL)
            )
        else:
            weights, architecture = compressed_files(root.compressed.module, root.compressed.architecture)
            content = self._network(root.compressed).SerializeToString(deterministic=True)
        self.run.write(f"{BASELINE_FOLDER}/{ARCHITECTURE_NAME}", architecture)
        self.run.write(f"{BASELINE_FOLDER}/{WEIGHTS_NAME}", weights)
        self.run.write(BASELINE, content)
        return {"size_bytes": len(content), "notes": list(root.notes)}

    def _pass(self, step: str, entry: PassEntry, position: int) -> None:
        """Apply one pass, or load what it gave before the run was interrupted."""

        def work() -> Mapping[str, JsonValue]:
            context = replace(
                context_of(self.job, self.root, self.progress, self.processes if together else ALONE),
                store=self.run.store(step),
                record=lambda facts: self.run.history({**facts, "pass": step}),
            )
            entry.settings.requires(before, context)
            if together:
                call_to_train(self.processes, position, before)
            after = entry.settings.apply(before, context)
            entry.settings.ensures(before, after)
            save_compressed(self.run.work(step), after.module.cpu(), after.architecture)
            new: list[JsonValue] = [
                {"module": item.module, "reason": item.reason, "pass_name": entry.name}
                for item in after.left_alone[len(before.left_alone) :]
            ]
            write_atomically(self._work(step, "left_alone.json"), json.dumps(new).encode())
            return {"left_alone": len(new)}

        before, together = self.compressed, entry.settings.role == "train"
        self._step(step, work)
        module, architecture = load_compressed(self.run.work(step))
        self.compressed = Compressed(module=module, architecture=architecture)
        self.left_alone += [LeftAlone(**item) for item in json.loads(self._work(step, "left_alone.json").read_text())]

    def _network(self, compressed: Compressed, nonzeros: Nonzeros = "exact") -> onnx.ModelProto:
        task, pixels = self.job.task, None
        if self.job.recipe.export.input == "uint8" and task is not None:
            pixels = PixelNormalization(mean=task.mean, std=task.std)
        shape, target = compressed.architecture.input_shape, self.job.target
        return to_onnx(compressed.module, input_shape=shape, target=target, pixels=pixels, nonzeros=nonzeros)

    def _reference(self, most: int) -> Reference:
        """Return what the trained model answers; of a network with exits by the policy of the file that was written."""
        return reference_of(
            self.compressed.module,
            self.job.task,
            pixels=self.job.recipe.export.input == "uint8",
            input_shape=self.root.input_shape,
            seed=self.job.seed,
            most=most,
            policy=policy_of(self.run.directory),
        )

    def _export(self) -> Mapping[str, JsonValue]:
        weights, architecture = compressed_files(self.compressed.module, self.compressed.architecture)
        network = self._network(self.compressed, self.job.recipe.export.nonzeros)
        said: dict[str, JsonValue] = {}
        files: Mapping[str, bytes] = {MODEL: network.SerializeToString(deterministic=True)}
        goal = exit_goal(self.compressed.architecture)
        if goal is not None:
            made = make_exit_files(
                network,
                goal,
                self.job,
                baseline=self.run.directory / BASELINE,
                work=self.run.work("export"),
                store=self.run.store("export"),
                progress=self.progress,
            )
            files, choice = made.files, made.choice
            said = {"thresholds": list(choice.policy.thresholds), "validation drop_points": choice.drop_points}
        self.run.write("recipe.yaml", resolved_yaml(self.job.recipe).encode())
        self.run.write(ARCHITECTURE_NAME, architecture)
        self.run.write(WEIGHTS_NAME, weights)
        for name, content in files.items():
            self.run.write(name, content)
        self.run.write("reference.npz", replay_file(self._reference(REPLAY_INPUTS)))
        return {"size_bytes": len(files[MODEL]), **said}

    def _verify(self) -> Mapping[str, JsonValue]:
        path = self.run.directory / MODEL
        reference = self._reference(VERIFY_INPUTS)
        verification = verify_file(
            path,
            reference=reference,
            target=self.job.target,
            agreement=self.job.recipe.gates.agreement,
            stages=stages_of(self.run.directory),
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
        return Verification(checks=(*verification.checks, *scores, *goal_checks(self.run.directory)))

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
