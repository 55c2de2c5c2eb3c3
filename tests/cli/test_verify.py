"""`tinyml verify` on runs and on lone files."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

Run = Callable[..., Any]


def test_a_lone_file_is_checked_for_structure_and_portability(tinyml: Run, int8_run: Path) -> None:
    told = tinyml("verify", int8_run / "model.onnx", "--json")
    result = json.loads(told.out)
    assert (told.code, result["passed"]) == (0, True)
    assert [check["name"] for check in result["checks"]] == ["ONNX structure", "int8 is right on every CPU"]


def test_the_table_has_a_row_for_each_check(tinyml: Run, int8_run: Path) -> None:
    out = tinyml("verify", int8_run).out
    rows = ("hashes of all files", "ONNX structure", "finite outputs", "same answer as the torch model", "three runs")
    assert [row for row in rows if row not in out] == []


def test_another_target_may_demand_less(tinyml: Run, int8_run: Path) -> None:
    assert tinyml("verify", int8_run, "--target", "arm64").code == 0


@pytest.mark.parametrize(
    ("content", "message"),
    [
        pytest.param(None, "no such file", id="missing"),
        pytest.param(b"", "is empty", id="empty"),
        pytest.param(b"<!DOCTYPE html><html>", "not an ONNX file", id="a web page"),
    ],
)
def test_what_is_no_onnx_file_is_refused_in_one_line(
    tinyml: Run, tmp_path: Path, content: bytes | None, message: str
) -> None:
    if content is not None:
        (tmp_path / "m.onnx").write_bytes(content)
    told = tinyml("verify", tmp_path / "m.onnx")
    assert (told.code, told.out, told.err.count("\n")) == (2, "", 1)
    assert message in told.err


def test_a_folder_that_is_no_run_is_refused(tinyml: Run, tmp_path: Path) -> None:
    told = tinyml("verify", tmp_path)
    assert (told.code, told.err.count("\n")) == (2, 1)
    assert "no finished run directory" in told.err


def test_data_of_another_shape_is_refused(tinyml: Run, int8_run: Path, tmp_path: Path) -> None:
    import numpy as np

    card = "version: 1\nname: other\ntask: classification\nkind: npz\ntest: t.npz\nmean: [0]\nstd: [1]\nclasses: 10\n"
    (tmp_path / "card.yaml").write_text(card, encoding="utf-8")
    np.savez(tmp_path / "t.npz", x=np.zeros((4, 9, 9, 1), np.uint8), y=np.zeros(4, int))
    told = tinyml("verify", int8_run, "--data", tmp_path / "card.yaml")
    assert (told.code, told.err.count("\n")) == (2, 1)
    assert "(1, 9, 9)" in told.err


def test_data_with_a_lone_file_is_said_to_be_of_no_use(tinyml: Run, int8_run: Path) -> None:
    told = tinyml("verify", int8_run / "model.onnx", "--data", "digits")
    assert told.code == 0
    assert "brings no trained model" in told.err
