"""The lock on a directory that is being built, and the exchange of an old directory for a new one."""

import os
import shutil
import socket
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from filelock import FileLock, Timeout

from tinyml.errors import OutputError
from tinyml.files import explained, sync_folder
from tinyml.manifest import WORK_NAME, is_sealed
from tinyml.run_directory.journal import has_journal
from tinyml.run_directory.plan import folder_beside

_LOCK_NAME: Final = "lock"
_OWNER_NAME: Final = "owner"
LOCK_FILES: Final = frozenset({_LOCK_NAME, _OWNER_NAME})


def lock(directory: Path, shown: Path) -> FileLock:
    """Return the held lock of a directory, which is made where it is missing; the kernel frees it with the process.

    Raises:
        OutputError: Another process holds it, or the directory cannot be made.
        TinymlError: The disk is full.
    """
    work = directory / WORK_NAME
    with explained(shown):
        work.mkdir(parents=True, exist_ok=True)
        held = FileLock(work / _LOCK_NAME, thread_local=False)
        try:
            held.acquire(timeout=0)
        except Timeout as error:
            raise OutputError(
                f"The output '{shown}' is in use by {_owner(work)}. Wait until that run ends, or choose another output."
            ) from error
        try:
            since = datetime.now(UTC).isoformat(timespec="seconds")
            (work / _OWNER_NAME).write_text(f"process {os.getpid()} on {socket.gethostname()} since {since}", "utf-8")
        except BaseException:
            if not has_journal(directory):
                shutil.rmtree(work, ignore_errors=True)
            held.release()
            raise
    return held


def exchange(build: Path, final: Path) -> None:
    """Put the sealed directory `build` in the place of `final`, and remove the old one.

    A kill between the two renames leaves nothing at `final` for a moment: `recover` then finishes the exchange.
    """
    old = _folder_of_old(final)
    with explained(final):
        shutil.rmtree(old, ignore_errors=True)
        if final.exists():
            final.rename(old)
        build.rename(final)
        sync_folder(final.parent)
        shutil.rmtree(old, ignore_errors=True)


def recover(final: Path, shown: Path) -> None:
    """Finish an exchange that was killed half-way; do nothing otherwise.

    Raises:
        OutputError: The exchange is going on in another process.
    """
    old, build = _folder_of_old(final), folder_beside(final)
    if not old.exists():
        return
    held = lock(build, shown) if (build / WORK_NAME).exists() else None
    try:
        with explained(shown):
            if not final.exists():
                (build if is_sealed(build) else old).rename(final)
            shutil.rmtree(old, ignore_errors=True)
    finally:
        if held:
            held.release()


def _folder_of_old(final: Path) -> Path:
    return final.parent / f".{final.name}.tinyml-old"


def _owner(work: Path) -> str:
    with suppress(OSError, UnicodeDecodeError):
        if text := (work / _OWNER_NAME).read_text("utf-8").strip():
            return text.splitlines()[0][:200]
    return "another process"
