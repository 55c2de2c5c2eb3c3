"""What a run has finished so far: .work/journal.json, rewritten atomically after each step."""

from pathlib import Path
from typing import Final, Literal

from pydantic import BaseModel, ConfigDict, ValidationError

from tinyml.errors import OutputError
from tinyml.manifest import WORK_NAME, FileFact, fact_of
from tinyml.sealed_json import read_sealed_json, write_sealed_json

JOURNAL_NAME: Final = "journal.json"
HISTORY_NAME: Final = "history.jsonl"


class FinishedStep(BaseModel):
    """A step that is done, the files that it wrote, and how long the history was after it."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: str
    files: dict[str, FileFact]
    history_bytes: int


class Journal(BaseModel):
    """The record of an unfinished run; a new one is made for every change.

    Attributes:
        fingerprint: What the run depends on.
        steps: The finished steps, in order.
        claimed: Every file that the run ever began to write: what is neither here nor in a step is a user's.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    format: Literal["tinyml-journal"] = "tinyml-journal"
    format_version: Literal[1] = 1
    fingerprint: dict[str, str]
    steps: tuple[FinishedStep, ...] = ()
    claimed: tuple[str, ...] = ()

    def known_files(self) -> set[str]:
        """Return every file that the run wrote or began to write."""
        return {*self.claimed, *(name for step in self.steps for name in step.files)}

    def finished_files(self) -> dict[str, FileFact]:
        """Return what each file was after the last step that wrote it."""
        return merged(self.steps)

    def intact(self, directory: Path) -> "Journal":
        """Return the journal cut back to the steps whose files are all as they were left."""
        facts: dict[str, FileFact | None] = {}
        steps = self.steps
        while steps and not all(_fact_on_disk(directory, name, facts) == fact for name, fact in merged(steps).items()):
            steps = steps[:-1]
        return self.model_copy(update={"steps": steps})


def merged(steps: tuple[FinishedStep, ...]) -> dict[str, FileFact]:
    """Return the facts of all steps' files, later steps before earlier ones."""
    return {name: fact for step in steps for name, fact in step.files.items()}


def has_journal(directory: Path) -> bool:
    """Return whether an unfinished run stands there."""
    return (directory / WORK_NAME / JOURNAL_NAME).is_file()


def read_journal(directory: Path) -> Journal:
    """Return the journal of an unfinished run.

    Raises:
        OutputError: It is damaged, or another version of tinyml wrote it.
    """
    path = directory / WORK_NAME / JOURNAL_NAME
    payload = read_sealed_json(path, error=OutputError)
    try:
        return Journal.model_validate(payload)
    except ValidationError as error:
        raise OutputError(f"'{path}' was written by another version of tinyml: use that one, or start anew.") from error


def write_journal(directory: Path, journal: Journal) -> None:
    """Write the journal atomically.

    Raises:
        TinymlError: The place cannot be written, or the disk is full.
    """
    write_sealed_json(directory / WORK_NAME / JOURNAL_NAME, journal.model_dump(mode="json"))


def _fact_on_disk(directory: Path, name: str, known: dict[str, FileFact | None]) -> FileFact | None:
    if name not in known:
        path = directory / name
        known[name] = fact_of(path) if path.is_file() else None
    return known[name]
