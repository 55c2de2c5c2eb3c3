import json

import numpy as np
import pytest
import torch
from onnx import TensorProto, helper, numpy_helper, save

from tinyml.cli import main
from tinyml.models import create_model


@pytest.fixture
def linear(tmp_path):
    """A linear layer, 6 -> 4."""
    graph = helper.make_graph(
        [helper.make_node("Gemm", ["input", "w", "b"], ["output"], "linear")],
        "graph",
        [helper.make_tensor_value_info("input", TensorProto.FLOAT, ["batch", 6])],
        [helper.make_tensor_value_info("output", TensorProto.FLOAT, ["batch", 4])],
        [numpy_helper.from_array(np.ones(shape, np.float32), name) for name, shape in (("w", (6, 4)), ("b", (4,)))],
    )
    path = tmp_path / "model.onnx"
    save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 21)], ir_version=10), path)
    return path


def profiled(arguments, capsys):
    assert main(["profile", *map(str, arguments), "--json", "--runs", "3"]) == 0
    return json.loads(capsys.readouterr().out)


def test_a_file_and_its_run_directory_give_the_same_layers(linear, capsys):
    for given in (linear, linear.parent):
        (layer,) = profiled([given], capsys)["layers"]
        assert (layer["name"], layer["output_shape"], layer["parameters"], layer["macs"]) == ("linear", [1, 4], 28, 24)


def test_the_table_has_sums_and_says_where_the_times_come_from(linear, capsys):
    assert main(["profile", str(linear), "--runs", "3"]) == 0
    shown = capsys.readouterr().out
    assert "Parameters 28; MACs 24" in shown
    assert "the runtime's own profile" in shown


def test_a_model_is_exported_and_counted_under_both_rules(capsys):
    facts = profiled(["--model", "lenet-digits", "--macs-rule", "labs"], capsys)
    ours = sum(layer["macs"] for layer in facts["layers"])
    assert facts["path"] == "lenet-digits"
    assert facts["labs_macs"]["details"]["conv-linear"] == ours
    assert facts["labs_macs"]["value"] > ours


@pytest.mark.parametrize(("quiet", "shown"), [([], True), (["-q"], False)], ids=["said", "quiet"])
def test_what_was_undone_in_a_checkpoint_is_noted_on_stderr(tmp_path, quiet, shown, capsys):
    state = create_model("lenet-digits").state_dict()
    wrapped = {f"module.{name}": value.half() if value.is_floating_point() else value for name, value in state.items()}
    torch.save({"state_dict": wrapped}, tmp_path / "c.pt")
    assert main(["profile", "--model", "lenet-digits", str(tmp_path / "c.pt"), "--runs", "3", *quiet]) == 0
    error = capsys.readouterr().err
    assert ("note: took 'state_dict'" in error) is shown
    assert ("note: removed the prefix 'module.' (DataParallel)" in error) is shown
    assert ("float16" in error) is shown


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ([], "run directory, an ONNX file, or --model"),
        (["none.onnx"], "no such file or directory"),
        (["{0}", "--macs-rule", "labs"], "give --model"),
        (["--model", "resnet21-cifar"], "resnet20-cifar"),
        (["{0}", "--target", "x86-vni"], "x86-vnni"),
    ],
    ids=["nothing", "missing file", "labs' rule on a file", "misspelt model", "misspelt target"],
)
def test_what_cannot_be_done_is_refused_in_one_line(linear, arguments, words, capsys):
    assert main(["profile", *(argument.format(linear) for argument in arguments)]) == 2
    error = capsys.readouterr().err
    assert words in error
    assert error.count("\n") == 1
