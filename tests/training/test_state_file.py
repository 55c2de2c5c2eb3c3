from pathlib import Path

import pytest

from tinyml.errors import OutputError
from tinyml.training import StateFile


def test_a_missing_file_is_no_state(tmp_path: Path) -> None:
    assert StateFile(tmp_path / "state").load() is None


def test_the_last_state_is_kept_and_nothing_else(tmp_path: Path) -> None:
    file = StateFile(tmp_path / "Zustand-\u00e4")
    file.save(b"first")
    file.save(b"second")
    assert (file.load(), list(tmp_path.iterdir())) == (b"second", [file.path])


def test_removing_is_allowed_twice(tmp_path: Path) -> None:
    file = StateFile(tmp_path / "state")
    file.save(b"first")
    file.remove()
    file.remove()
    assert file.load() is None


def test_a_state_that_cannot_be_written_says_where(tmp_path: Path) -> None:
    with pytest.raises(OutputError, match=r"Cannot write .*missing.*folder does not exist"):
        StateFile(tmp_path / "missing" / "state").save(b"state")
