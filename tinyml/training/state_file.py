"""The state of a training in one file, for `tinyml train --resume`."""

from pathlib import Path

from tinyml.files import write_atomically


class StateFile:
    """A store that keeps the state in one file, replaces it atomically, and removes it when the training is over."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def load(self) -> bytes | None:
        """Return the bytes of the file, or None where there is no file."""
        return self.path.read_bytes() if self.path.exists() else None

    def save(self, state: bytes) -> None:
        """Replace the file; a failure leaves the one before it as it was.

        Raises:
            TinymlError: The file cannot be written, or the disk is full.
        """
        write_atomically(self.path, state)

    def remove(self) -> None:
        """Remove the file, if there is one."""
        self.path.unlink(missing_ok=True)
