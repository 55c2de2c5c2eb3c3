"""The program in the report runs as it stands."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from tinyml.report.report import InputFacts, Report
from tinyml.report.usage import usage_snippet


def save_flattening_model(path: Path, facts: InputFacts) -> None:
    kind = TensorProto.UINT8 if facts.dtype == "uint8" else TensorProto.FLOAT
    graph = helper.make_graph(
        [helper.make_node("Flatten", ["input"], ["output"])],
        "net",
        [helper.make_tensor_value_info("input", kind, ["N", *facts.shape])],
        [helper.make_tensor_value_info("output", kind, None)],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 19)], ir_version=10)
    onnx.save(model, path)


@pytest.mark.parametrize(
    ("facts", "first"),
    [
        (InputFacts(shape=(3, 4, 5), mean=(0.5, 0.5, 0.5), std=(0.25, 0.5, 1.0)), -2.0),  # (0 - 0.5) / 0.25
        (InputFacts(shape=(4, 5, 3), dtype="uint8", mean=(0.5,) * 3, std=(1.0,) * 3), 0),
        (InputFacts(shape=(7,)), 0.0),
    ],
    ids=["float images", "uint8 images", "floats"],
)
def test_it_feeds_the_file_what_it_wants(
    report: Report, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, facts: InputFacts, first: float
) -> None:
    monkeypatch.chdir(tmp_path)
    save_flattening_model(tmp_path / "model.onnx", facts)
    names: dict[str, object] = {}
    exec(usage_snippet(replace(report, input=facts, classes=())), names)
    assert np.asarray(names["output"])[0, 0] == first


def test_it_prints_the_class(
    report: Report, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    facts = InputFacts(shape=(2,))
    save_flattening_model(tmp_path / "model.onnx", facts)
    exec(usage_snippet(replace(report, input=facts, classes=('ze"ro', "one"))), {})
    assert capsys.readouterr().out == "['ze\"ro']\n"


def test_it_takes_about_ten_lines(report: Report) -> None:
    assert (
        len(usage_snippet(replace(report, input=InputFacts(shape=(3, 4, 5), mean=(0.5,), std=(1.0,)))).split("\n")) < 13
    )
