"""What may be done with an output directory: decided by looking only, so that --dry-run asks the same questions."""

import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from tinyml.errors import OutputError
from tinyml.files import explained, is_temporary
from tinyml.manifest import MANIFEST_NAME, WORK_NAME, file_names, is_sealed, read_manifest
from tinyml.run_directory.journal import HISTORY_NAME, has_journal, read_journal

_TOLD = 8  # changes in one message: more are another recipe


class Situation(StrEnum):
    """What stands at a path."""

    ABSENT = "absent or empty"
    SEALED = "a finished run"
    UNFINISHED = "an unfinished run"
    OTHER = "something that tinyml did not write"


@dataclass(frozen=True, kw_only=True)
class Plan:
    """Where a run writes.

    Attributes:
        final: Where the run ends.
        build: Where it is written: `final`, or a hidden directory beside it that replaces `final` when it is sealed.
        continues: Whether `build` holds steps of the same run to go on from.
        done: Whether `build` holds the finished run already.
    """

    final: Path
    build: Path
    continues: bool = False
    done: bool = False

    @property
    def replaces(self) -> bool:
        """Whether an older directory is replaced at the end."""
        return self.build != self.final


def plan_run(
    path: Path, *, overwrite: bool, resume: bool, fingerprint: Mapping[str, str], inputs: Iterable[Path] = ()
) -> Plan:
    """Return where a run may write; nothing is written.

    Args:
        path: The output directory that the user named.
        overwrite: Whether an older run there may be replaced.
        resume: Whether an unfinished run there is gone on with.
        fingerprint: What the run depends on, by name; only a run with the same is continued.
        inputs: Files and directories that the run reads.

    Raises:
        OutputError: The output exists and neither option allows for it, is or holds an input, lies in a sealed run,
            is a file, cannot be written, or is another run than the one to be continued.
    """
    with explained(path):
        final = path.resolve()
        _refuse_bad_places(path, final, list(inputs))
        beside = folder_beside(final)
        if resume and (continued := _continued(beside, final, fingerprint)):
            return continued
        situation = look(final)
        if resume and (continued := _continued(final, final, fingerprint)):
            return continued
        if situation is Situation.ABSENT:
            return Plan(final=final, build=final)
        if situation is Situation.OTHER:
            raise OutputError(
                f"The output '{path}' exists and is no run directory of tinyml (or its {MANIFEST_NAME} is damaged): "
                "it is left alone. Choose another output."
            )
        if overwrite:
            _refuse_strangers(path, final)
            return Plan(final=final, build=beside)
        if resume:
            raise OutputError(_changes(path, final, fingerprint))
        cure = _cure(situation, final, fingerprint)
    raise OutputError(f"The output '{path}' exists: {situation}. Add {cure}, or choose another output.")


def look(directory: Path) -> Situation:
    """Return what stands at the path."""
    if is_sealed(directory):
        return Situation.SEALED
    if not directory.exists():
        return Situation.ABSENT
    if has_journal(directory) and not (directory / MANIFEST_NAME).exists():
        return Situation.UNFINISHED
    # A run that was killed before its first record leaves only an empty .work behind.
    names = {entry.name for entry in directory.iterdir()}
    return Situation.ABSENT if names <= {WORK_NAME} and not has_journal(directory) else Situation.OTHER


def folder_beside(final: Path) -> Path:
    """Return where the successor of an existing directory is built."""
    return final.parent / f".{final.name}.tinyml-new"


def _refuse_bad_places(path: Path, final: Path, inputs: list[Path]) -> None:
    for source in (source.resolve() for source in inputs):
        if source == final or final in source.parents:
            raise OutputError(f"The output '{path}' is or holds the input '{source}'. Choose another output.")
    if final.exists() and not final.is_dir():
        raise OutputError(f"The output '{path}' is a file; a directory is written. Choose another output.")
    for parent in final.parents:
        if is_sealed(parent):
            raise OutputError(f"The output '{path}' lies in the finished run '{parent}', which is sealed.")
    ancestor = next((parent for parent in final.parents if parent.exists()), final)
    if not ancestor.is_dir():
        raise OutputError(f"Cannot write '{path}': '{ancestor}' is a file. Choose another output.")
    place = final if final.is_dir() and look(final) is not Situation.SEALED else ancestor
    if not os.access(place, os.W_OK | os.X_OK):
        raise OutputError(f"Cannot write '{path}': this user may not write in '{place}'. Choose another output.")


def _continued(build: Path, final: Path, fingerprint: Mapping[str, str]) -> Plan | None:
    situation = look(build)
    if situation is Situation.SEALED and read_manifest(build).fingerprint == dict(fingerprint):
        return Plan(final=final, build=build, continues=True, done=True)
    if situation is Situation.UNFINISHED and read_journal(build).fingerprint == dict(fingerprint):
        _refuse_strangers(build, build)
        return Plan(final=final, build=build, continues=True)
    return None


def _refuse_strangers(path: Path, directory: Path) -> None:
    """Refuse to replace or tidy a directory in which a user keeps files of their own."""
    sealed = is_sealed(directory)
    known = read_manifest(directory).files.keys() if sealed else read_journal(directory).known_files() | {HISTORY_NAME}
    strangers = [name for name in file_names(directory) if name not in known and not is_temporary(Path(name))]
    if strangers:
        raise OutputError(
            f"The output '{path}' holds files that tinyml did not write: {', '.join(sorted(strangers)[:5])}. "
            "Move them away, or choose another output."
        )


def _cure(situation: Situation, final: Path, fingerprint: Mapping[str, str]) -> str:
    """Return which options allow for what stands there."""
    if situation is Situation.SEALED:
        return "--overwrite to replace it"
    if read_journal(final).fingerprint == dict(fingerprint):
        return "--resume to go on, --overwrite to start anew"
    return "--overwrite to start anew (--resume goes on with the same settings only)"


def _changes(path: Path, directory: Path, fingerprint: Mapping[str, str]) -> str:
    saved = read_manifest(directory).fingerprint if is_sealed(directory) else read_journal(directory).fingerprint
    changed = [
        f"{name} was {_short(saved.get(name))}, is {_short(fingerprint.get(name))}"
        for name in sorted({*saved, *fingerprint})
        if saved.get(name) != fingerprint.get(name)
    ]
    return (
        f"The run in '{path}' cannot be resumed, because it was another one: {'; '.join(changed[:_TOLD])}"
        f"{f'; and {len(changed) - _TOLD} more' if len(changed) > _TOLD else ''}. "
        "Undo the change, add --overwrite to start anew, or choose another output."
    )


def _short(value: str | None) -> str:
    if value is None:
        return "not set"
    return value if len(value) <= 40 else f"{value[:12]}..."
