"""Making, tidying and removing the directory around a run."""

import os
import shutil
from collections.abc import Iterable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Final

from tinyml.files import explained, is_temporary
from tinyml.manifest import WORK_NAME, file_names
from tinyml.run_directory.journal import HISTORY_NAME, Journal, has_journal, read_journal, write_journal
from tinyml.run_directory.place import LOCK_FILES, exchange, lock
from tinyml.run_directory.plan import Plan, Situation, look

STEPS_NAME: Final = "steps"
STATES_NAME: Final = "states"


def make(build: Path) -> tuple[Path, ...]:
    """Make the directory and its parents, and return those that were made, the innermost first."""
    missing = [path for path in (build, *build.parents) if not path.exists()]
    build.mkdir(parents=True, exist_ok=True)
    return tuple(missing)


def prepare(plan: Plan, fingerprint: Mapping[str, str], shown: Path) -> Journal:
    """Tidy what an earlier process left, and return the journal to go on from. The directory is locked.

    Raises:
        TinymlError: The disk is full, or the place cannot be written.
    """
    if plan.replaces and look(plan.final) is Situation.UNFINISHED:
        lock(plan.final, shown).release()  # refuses while another process is at work there
    with explained(shown):
        if plan.continues:
            journal = read_journal(plan.build).intact(plan.build)
            _discard_unfinished(plan.build, journal)
        else:
            _empty(plan.build)
            journal = Journal(fingerprint=dict(fingerprint))
    write_journal(plan.build, journal)
    return journal


def finish_seal(plan: Plan, shown: Path) -> None:
    """Do what a kill right after the manifest left undone."""
    if plan.replaces:
        held = lock(plan.build, shown)
        try:
            exchange(plan.build, plan.final)
        finally:
            held.release()
    shutil.rmtree(plan.final / WORK_NAME, ignore_errors=True)


def give_up(directory: Path, made: Iterable[Path], written: Iterable[str]) -> None:
    """Remove a run that came to nothing: its files, its resume state, and the folders made for it, where empty."""
    for name in written:
        with suppress(OSError):  # what ended the run is to be told, not this
            (directory / name).unlink(missing_ok=True)
    shutil.rmtree(directory / WORK_NAME, ignore_errors=True)
    inner = sorted((path for path in directory.rglob("*") if path.is_dir()), reverse=True)
    for folder in (*inner, *made):
        with suppress(OSError):  # not empty: something of somebody else's is in it
            folder.rmdir()


def undo(directory: Path, made: Iterable[Path], *, locked: bool, begun: bool) -> None:
    """Remove what a refused or interrupted run left: the folders made for it, and what it put there so far."""
    if locked and (begun or not has_journal(directory)):
        give_up(directory, made, ())
    for folder in made:
        with suppress(OSError):  # not empty: another process is at work in it
            folder.rmdir()


def _discard_unfinished(directory: Path, journal: Journal) -> None:
    finished = journal.finished_files()
    for name in list(file_names(directory)):
        if name != HISTORY_NAME and name not in finished:
            (directory / name).unlink()
    for leftover in [path for path in (directory / WORK_NAME).rglob("*") if is_temporary(path)]:
        leftover.unlink()
    steps = directory / WORK_NAME / STEPS_NAME
    kept = {step.name for step in journal.steps}
    for folder in list(steps.iterdir()) if steps.is_dir() else []:
        if folder.name not in kept:
            shutil.rmtree(folder)
    history = directory / HISTORY_NAME
    length = journal.steps[-1].history_bytes if journal.steps else 0
    if history.exists() and history.stat().st_size > length:
        os.truncate(history, length)


def _empty(build: Path) -> None:
    """Remove what an abandoned run left in the directory; the lock, which is held, stays."""
    for folder in (build, build / WORK_NAME):
        for entry in list(folder.iterdir()):
            if entry.is_symlink() or not entry.is_dir():
                if folder == build or entry.name not in LOCK_FILES:
                    entry.unlink()
            elif entry != build / WORK_NAME:
                shutil.rmtree(entry)
