"""The directory that a run writes: atomic, locked, resumable step by step, and sealed by its manifest at the end."""

import os
import re
import shutil
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path, PurePosixPath
from types import TracebackType
from typing import BinaryIO, Final, Self

from filelock import FileLock
from pydantic import JsonValue

from tinyml.errors import OutputError
from tinyml.files import explained, sync_folder, write_atomically
from tinyml.manifest import MANIFEST_NAME, WORK_NAME, fact_of, write_manifest
from tinyml.run_directory.journal import HISTORY_NAME, FinishedStep, Journal, write_journal
from tinyml.run_directory.place import exchange, lock, recover
from tinyml.run_directory.plan import Plan, plan_run
from tinyml.run_directory.preparation import STATES_NAME, STEPS_NAME, finish_seal, give_up, make, prepare, undo
from tinyml.sealed_json import to_json

_STEP_NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]*")


class ResumeStore:
    """Keeps one state of an unfinished step, replaced atomically; it survives a kill, and ends with its step."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def load(self) -> bytes | None:
        """Return the bytes saved last, or None where there are none."""
        return self._path.read_bytes() if self._path.is_file() else None

    def save(self, state: bytes) -> None:
        """Keep the bytes.

        Raises:
            TinymlError: The disk is full, or the place cannot be written.
        """
        with explained(self._path):
            self._path.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(self._path, state)


class RunDirectory:
    """An output directory while it is written; use it in a `with` statement, which holds its lock.

    A step asks `done`, writes with `write`, `history` and `work`, and ends with `finish`. After a kill, everything that
    was written since the last `finish` is discarded, except the state in `store`. A run that ends before its first step
    is finished leaves nothing behind.

    Attributes:
        path: Where the run ends. Until the seal its files may lie elsewhere: ask `directory`.
        directory: Where the files are now.
        is_done: Whether the same run was finished here before: nothing is left to do, and nothing may be written.
        is_resumed: Whether finished steps of an earlier process are there.
    """

    def __init__(self, plan: Plan, *, held: FileLock | None, journal: Journal, made: tuple[Path, ...]) -> None:
        self.path = plan.final
        self.directory = plan.final if plan.done else plan.build
        self.is_done = plan.done
        self.is_resumed = bool(journal.steps)
        self._plan = plan
        self._held = held
        self._journal = journal
        self._made = made
        self._unfinished: set[str] = set()

    @classmethod
    def check(
        cls, path: Path, *, overwrite: bool, resume: bool, fingerprint: Mapping[str, str], inputs: Iterable[Path] = ()
    ) -> None:
        """Ask everything that `create` asks, without writing (for --dry-run).

        Raises:
            OutputError: As `create`.
        """
        plan_run(path, overwrite=overwrite, resume=resume, fingerprint=fingerprint, inputs=inputs)

    @classmethod
    def create(
        cls, path: Path, *, overwrite: bool, resume: bool, fingerprint: Mapping[str, str], inputs: Iterable[Path] = ()
    ) -> Self:
        """Return the locked directory of a run.

        Args:
            path: The output directory.
            overwrite: Build beside an older run, and replace it when the new one is sealed.
            resume: Go on with an unfinished run that has the same fingerprint.
            fingerprint: What the bytes of the result depend on, by name: recipe, target, checkpoint, data, versions,
                seed, threads.
            inputs: What the run reads: never written over.

        Raises:
            OutputError: The output exists, is in use, is an input, or cannot be written.
            TinymlError: The disk is full.
        """
        inputs = list(inputs)
        with explained(path):
            recover(path.resolve(), path)

        def plan_now() -> Plan:
            return plan_run(path, overwrite=overwrite, resume=resume, fingerprint=fingerprint, inputs=inputs)

        plan = plan_now()
        if plan.done:
            finish_seal(plan, path)
            return cls(plan, held=None, journal=Journal(fingerprint=dict(fingerprint)), made=())
        with explained(path):
            made = make(plan.build)
        held, begun = None, False
        try:
            held = lock(plan.build, path)
            if plan_now() != plan:  # another process was faster between the look and the lock
                raise OutputError(f"The output '{path}' was changed by another process just now. Try again.")
            begun = not plan.continues  # from here on, what lies there is this run's own
            journal = prepare(plan, fingerprint, path)
        except BaseException:
            undo(plan.build, made, locked=held is not None, begun=begun)
            if held:
                held.release()
            raise
        return cls(plan, held=held, journal=journal, made=made)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Release the lock; a directory in which no step was finished is removed."""
        if self._held is None:
            return
        if not self._journal.steps and not (self.directory / WORK_NAME / STATES_NAME).exists():
            give_up(self.directory, self._made, (*self._journal.claimed, HISTORY_NAME))
        self._held.release()
        self._held = None

    def done(self, step: str) -> bool:
        """Return whether the step was finished, now or by an earlier process."""
        return any(finished.name == step for finished in self._journal.steps)

    def work(self, step: str) -> Path:
        """Return a folder for the step's own files, kept until the seal; on resume an unfinished one is discarded."""
        self._refuse_when_closed()
        folder = self.directory / WORK_NAME / STEPS_NAME / _checked_step(step)
        with explained(folder):
            folder.mkdir(parents=True, exist_ok=True)
        return folder

    def store(self, step: str) -> ResumeStore:
        """Return where the step keeps its state against a kill; it is dropped when the step finishes."""
        self._refuse_when_closed()
        return ResumeStore(self.directory / WORK_NAME / STATES_NAME / _checked_step(step))

    def write(self, name: str, content: bytes | Callable[[BinaryIO], None]) -> Path:
        """Write one file of the run atomically, and return where it is now.

        Args:
            name: Relative, with forward slashes: 'baseline/model.onnx'.
            content: The bytes, or what writes them to an open binary file.

        Raises:
            TinymlError: The disk is full, or the place cannot be written.
        """
        self._refuse_when_closed()
        pure = PurePosixPath(name)
        if pure.is_absolute() or ".." in pure.parts or not pure.name or pure.parts[0] in (WORK_NAME, MANIFEST_NAME):
            raise ValueError(f"'{name}' is no name for a file of a run")
        if name not in self._journal.known_files():
            self._record(self._journal.model_copy(update={"claimed": (*self._journal.claimed, name)}))
        target = self.directory / name
        with explained(target):
            target.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(target, content)
        self._unfinished.add(name)
        return target

    def history(self, event: Mapping[str, JsonValue]) -> None:
        """Append one event, with the time, to history.jsonl.

        To be called between a step's `done` and `finish`: what follows the last `finish` is discarded on resume, so
        that the step, done again, writes its events once.

        Raises:
            TinymlError: The disk is full, or the place cannot be written.
        """
        self._refuse_when_closed()
        line = to_json({"at": datetime.now(UTC).isoformat(timespec="seconds"), **event}) + "\n"
        path = self.directory / HISTORY_NAME
        with explained(path):
            before = path.stat().st_size if path.exists() else 0
            try:
                with path.open("ab") as file:
                    file.write(line.encode())
                    file.flush()
                    os.fsync(file.fileno())
            except OSError:
                with suppress(OSError):
                    os.truncate(path, before)
                raise

    def finish(self, step: str) -> None:
        """Record that the step is done, with the hashes of what it wrote.

        Raises:
            TinymlError: The disk is full, or the place cannot be written.
        """
        self._refuse_when_closed()
        if self.done(_checked_step(step)):
            raise ValueError(f"the step '{step}' was finished before")
        files = {name: fact_of(self.directory / name) for name in sorted(self._unfinished)}
        history = self.directory / HISTORY_NAME
        length = history.stat().st_size if history.exists() else 0
        record = FinishedStep(name=step, files=files, history_bytes=length)
        self._record(self._journal.model_copy(update={"steps": (*self._journal.steps, record)}))
        self._unfinished.clear()
        (self.directory / WORK_NAME / STATES_NAME / step).unlink(missing_ok=True)

    def seal(self, fields: Mapping[str, JsonValue]) -> Path:
        """Write the manifest, put the directory in its place, and return that place. Nothing can be written after it.

        Args:
            fields: What manifest.json says besides files and fingerprint: versions, seed, threads, parent.

        Raises:
            TinymlError: The disk is full, or the place cannot be written; an older directory is then untouched.
        """
        self._refuse_when_closed()
        with explained(self.directory):
            for folder in [self.directory, *(path for path in self.directory.rglob("*") if path.is_dir())]:
                sync_folder(folder)
        write_manifest(self.directory, fingerprint=self._journal.fingerprint, fields=fields)
        if self._plan.replaces:
            exchange(self.directory, self.path)
            self.directory = self.path
        shutil.rmtree(self.directory / WORK_NAME, ignore_errors=True)
        assert self._held is not None  # _refuse_when_closed looked
        self._held.release()
        self._held = None
        return self.path

    def _record(self, journal: Journal) -> None:
        write_journal(self.directory, journal)
        self._journal = journal

    def _refuse_when_closed(self) -> None:
        if self._held is None:
            raise OutputError(f"The run in '{self.path}' is finished: nothing is written into it any more.")


def _checked_step(step: str) -> str:
    if not _STEP_NAME.fullmatch(step):
        raise ValueError(f"'{step}' is no name for a step: letters, digits, '_', '.' and '-'")
    return step
