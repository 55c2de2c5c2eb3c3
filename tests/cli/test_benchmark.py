import json

import numpy as np
import pytest
from onnx import TensorProto, helper, numpy_helper, save

from tinyml.cli import main


@pytest.fixture
def files(tmp_path):
    """A linear classifier of the digits, and one twice as wide in a run directory of its own."""
    paths = []
    for name, width in (("narrow.onnx", 4), ("run/model.onnx", 8)):
        shapes = {"v": (64, width), "w": (width, 10)}
        generator = np.random.default_rng(0)
        graph = helper.make_graph(
            [
                helper.make_node("Flatten", ["input"], ["x"], "flatten"),
                helper.make_node("MatMul", ["x", "v"], ["h"], "first"),
                helper.make_node("MatMul", ["h", "w"], ["output"], "second"),
            ],
            "graph",
            [helper.make_tensor_value_info("input", TensorProto.FLOAT, ["batch", 1, 8, 8])],
            [helper.make_tensor_value_info("output", TensorProto.FLOAT, ["batch", 10])],
            [
                numpy_helper.from_array(generator.standard_normal(shape).astype(np.float32), key)
                for key, shape in shapes.items()
            ],
        )
        paths.append(tmp_path / name)
        paths[-1].parent.mkdir(exist_ok=True)
        save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 21)], ir_version=10), paths[-1])
    return [str(paths[0]), str(paths[1].parent)]


def test_files_and_run_directories_are_compared_in_json(files, capsys):
    assert main(["benchmark", *files, "--data", "digits", "--json"]) == 0
    facts = json.loads(capsys.readouterr().out)
    narrow, wide = (facts["measurements"][name] for name in files)
    assert facts["baseline"] == files[0]
    assert (narrow["macs"]["value"], wide["macs"]["value"]) == (64 * 4 + 4 * 10, 64 * 8 + 8 * 10)
    assert 0 <= narrow["accuracy"]["value"] <= 1
    assert len(wide["latency_ms"]["samples"]) == 672


def test_the_table_shows_the_control_and_no_accuracy_without_data(files, capsys):
    assert main(["benchmark", *files]) == 0
    shown = capsys.readouterr().out
    assert "A/A control" in shown
    assert "not measured: no data was given" in shown


def test_accuracies_are_compared_example_by_example(files, capsys):
    assert main(["benchmark", files[0], files[0], "--data", "digits"]) == 0
    shown = capsys.readouterr().out
    assert "0 points" in shown
    assert "paired" in shown
    assert "0 gained, 0 lost" in shown


def test_one_file_has_nothing_to_differ_from(files, capsys):
    assert main(["benchmark", files[0], "--data", "digits"]) == 0
    assert "gained" not in capsys.readouterr().out


def test_a_file_beside_itself_keeps_both_columns(files, capsys):
    assert main(["benchmark", files[0], files[0], "--json"]) == 0
    assert list(json.loads(capsys.readouterr().out)["measurements"]) == [files[0], f"{files[0]} #2"]


def test_the_result_is_written_and_not_written_over(files, tmp_path, capsys):
    output = tmp_path / "tímes.json"
    assert main(["benchmark", files[0], "-o", str(output)]) == 0
    first = output.read_bytes()
    assert json.loads(first)["files"] == {files[0]: files[0]}
    assert main(["benchmark", files[0], "-o", str(output)]) == 2
    assert "exists" in capsys.readouterr().err
    assert output.read_bytes() == first


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["none.onnx"], "no such file or directory"),
        (["{0}", "-o", "{0}", "--overwrite"], "input"),
        (["{0}", "--provider", "CUDAExecutionProvider"], "no CUDAExecutionProvider"),
        (["{0}", "--data", "digts"], "digits"),
        ([], "A B ..."),
    ],
    ids=["missing file", "output is the input", "no CUDA", "misspelt data", "nothing"],
)
def test_what_cannot_be_done_is_refused_in_one_line(files, arguments, words, capsys, monkeypatch):
    monkeypatch.setattr("tinyml.runtime.session.available_providers", lambda: ("CPUExecutionProvider",))
    assert main(["benchmark", *(argument.format(*files) for argument in arguments)]) == 2
    error = capsys.readouterr().err
    assert words in error
    assert error.count("\n") == 1


def test_a_task_of_other_inputs_is_refused(files, tmp_path, capsys):
    np.savez(tmp_path / "t.npz", x=np.zeros((4, 5, 5, 1), np.uint8), y=np.arange(4))
    (tmp_path / "card.yaml").write_text(
        "version: 1\nname: small\ntask: classification\nkind: npz\ntest: t.npz\nmean: [0.5]\nstd: [0.5]\n"
        "classes: [a, b, c, d]\n"
    )
    assert main(["benchmark", files[0], "--data", str(tmp_path / "card.yaml")]) == 2
    assert "gives" in capsys.readouterr().err
