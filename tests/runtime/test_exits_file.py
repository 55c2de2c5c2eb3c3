from pathlib import Path

import pytest

from tinyml.errors import CheckpointError
from tinyml.runtime.exits_file import ExitsFile, read_exits

FILE = ExitsFile(rule="margin", thresholds=(0.123456789,), temperatures=(1.5,), stages=("a.onnx", "b.onnx"))


def test_what_was_written_is_read(tmp_path: Path) -> None:
    (tmp_path / "exits.json").write_text(FILE.model_dump_json())
    assert read_exits(tmp_path / "exits.json") == FILE
    assert FILE.policy.thresholds == (0.123456789,)


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("{", "file: Invalid JSON"),
        (FILE.model_dump_json().replace("margin", "margins"), "rule: Input should be 'max_probability', "),
        (FILE.model_dump_json().replace("a.onnx", "../a.onnx"), "stages.0: String should match"),
        (FILE.model_dump_json().replace("0.123456789", "NaN"), "thresholds.0"),
        (FILE.model_dump_json().replace('"rule"', '"rules"'), "rule: Field required; rules: Extra inputs"),
    ],
    ids=["no JSON", "rule", "a path", "no number", "a key"],
)
def test_a_fault_is_said_with_its_place(tmp_path: Path, text: str, fault: str) -> None:
    (tmp_path / "exits.json").write_text(text)
    with pytest.raises(CheckpointError, match=fault):
        read_exits(tmp_path / "exits.json")


def test_a_missing_file_is_said(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match=r"cannot be read; stages come with an exits\.json"):
        read_exits(tmp_path / "exits.json")
