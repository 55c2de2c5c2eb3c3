import numpy as np
import pytest
from onnx import ModelProto, TensorProto, helper

from tinyml.errors import CheckpointError, TargetError
from tinyml.runtime.session import logits, open_session, providers_used, require_provider


def doubling(*, batch="batch", inputs=("input",), outputs=("output",), element_type=TensorProto.FLOAT) -> ModelProto:
    """A network whose outputs are its (last) input added to itself; the first output twice that."""
    nodes = [helper.make_node("Add", [inputs[-1], inputs[-1]], [outputs[-1]], "double")]
    if len(outputs) > 1:
        nodes.append(helper.make_node("Add", [outputs[-1], outputs[-1]], [outputs[0]], "quadruple"))
    graph = helper.make_graph(
        nodes,
        "graph",
        [helper.make_tensor_value_info(name, element_type, [batch, 2]) for name in inputs],
        [helper.make_tensor_value_info(name, element_type, [batch, 2]) for name in outputs],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 21)], ir_version=10)


def opened(**settings):
    return open_session(doubling(**settings).SerializeToString())


def test_a_session_knows_its_input_and_runs():
    session = opened()
    assert (session.input_name, session.input_shape, session.input_dtype) == ("input", ("batch", 2), np.float32)
    np.testing.assert_array_equal(session.run(np.float32([[1, 2]]))["output"], [[2, 4]])


def test_a_file_with_another_alphabet_in_its_name_opens(tmp_path):
    path = tmp_path / "módel-模型.onnx"
    path.write_bytes(doubling().SerializeToString())
    assert open_session(path).outputs == ("output",)


@pytest.mark.parametrize("batch", ["batch", 1, 4], ids=["any batch", "batch of one", "batch of four"])
def test_logits_of_every_row_come_in_order(batch):
    x = np.arange(14, dtype=np.float32).reshape(7, 2)
    np.testing.assert_array_equal(logits(opened(batch=batch), x, 3), 2 * x)


def test_logits_are_the_output_of_that_name_and_else_the_first():
    x = np.float32([[1, 1]])
    np.testing.assert_array_equal(logits(opened(outputs=("exit", "output")), x), [[2, 2]])
    np.testing.assert_array_equal(logits(opened(outputs=("a", "b")), x), [[4, 4]])


def test_no_rows_give_no_logits():
    assert len(logits(opened(), np.empty((0, 2), np.float32))) == 0


def test_every_node_is_placed_on_the_cpu():
    assert opened(outputs=("a", "b")).placement() == {
        "double": "CPUExecutionProvider",
        "quadruple": "CPUExecutionProvider",
    }


def test_providers_are_told_by_how_much_they_run():
    assert providers_used(["CPU", "CUDA", "CUDA"]) == "CUDA 2, CPU 1"


def with_ir(model):
    model.ir_version = 99
    return model


def with_opset(model):
    model.opset_import[0].version = 99
    return model


def with_operator(model):
    model.graph.node[0].op_type = "Dubble"
    return model


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (with_ir, r"IR version 99; onnxruntime \S+ reads up to \d+"),
        (with_opset, r"opset 99; onnxruntime \S+ runs up to \d+"),
        (with_operator, r"no operator Dubble in opset 21"),
    ],
    ids=["IR version", "opset", "operator"],
)
def test_what_is_too_new_is_a_target_error_with_both_versions(change, message):
    with pytest.raises(TargetError, match=message):
        open_session(change(doubling()).SerializeToString())


@pytest.mark.parametrize("content", [b"", b"<html>", b"\x08\x0a"], ids=["empty", "html", "cut short"])
def test_what_is_not_onnx_is_refused_in_one_line(tmp_path, content):
    path = tmp_path / "model.onnx"
    path.write_bytes(content)
    with pytest.raises(CheckpointError, match=r"model\.onnx: it is empty, cut short or not an ONNX file") as caught:
        open_session(path)
    assert "\n" not in str(caught.value)


def test_a_missing_file_is_refused(tmp_path):
    with pytest.raises(CheckpointError, match="no such file"):
        open_session(tmp_path / "none.onnx")


def test_several_inputs_are_refused_by_name():
    with pytest.raises(CheckpointError, match=r"2 inputs \(a, b\)"):
        opened(inputs=("a", "b"))


@pytest.mark.parametrize(
    ("provider", "cure"),
    [("CUDAExecutionProvider", "pip install onnxruntime-gpu"), ("CPUExecutionProvder", "Did you mean 'CPUExec")],
    ids=["not installed", "misspelt"],
)
def test_a_provider_that_is_not_here_comes_with_a_cure(provider, cure, monkeypatch):
    monkeypatch.setattr("tinyml.runtime.session.available_providers", lambda: ("CPUExecutionProvider",))
    with pytest.raises(TargetError, match=cure):
        require_provider(provider)


def test_a_wrong_input_is_refused_with_what_is_right():
    with pytest.raises(CheckpointError, match=r"on float32 \(1, 3\) failed; it takes float32 \('batch', 2\)"):
        opened().run(np.zeros((1, 3), np.float32))


def test_text_as_input_is_refused():
    value = [helper.make_tensor_value_info(name, TensorProto.STRING, [1]) for name in ("input", "output")]
    graph = helper.make_graph([helper.make_node("Identity", ["input"], ["output"])], "g", value[:1], value[1:])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 21)], ir_version=10)
    with pytest.raises(CheckpointError, match=r"input 'input' has type tensor\(string\)"):
        open_session(model.SerializeToString())
