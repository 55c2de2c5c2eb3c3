import numpy as np
import pytest
from onnx import TensorProto, helper, shape_inference

from tinyml.errors import CheckpointError
from tinyml.manifest import write_manifest
from tinyml.measure.network import TensorType, find_onnx, read_network


def test_shapes_are_inferred_for_batch_one(convolution):
    types = read_network(convolution).types
    assert types["y"].shape == (1, 4, 8, 8)
    assert types["output"].shape == (1, 2)


def test_open_pixels_are_filled_from_the_given_shape(save_graph):
    path = save_graph(
        [helper.make_node("Relu", ["input"], ["output"])],
        inputs={"input": ["batch", 3, "height", "width"]},
        outputs={"output": ["batch", 3, "h", "w"]},
    )
    assert read_network(path, (3, 5, 7)).types["output"].shape == (1, 3, 5, 7)
    with pytest.raises(CheckpointError, match=r"dimension 2 of input 'input' is open.*--input-shape with 3 sizes"):
        read_network(path)


def test_a_constant_is_computed_through_dequantization(quantized):
    network = read_network(quantized)
    assert network.is_constant("wf")
    assert not network.is_constant("x")
    np.testing.assert_array_equal(network.value("wf").ravel(), np.float32([0, 5]) * np.float32([0.1, 0.2]))


def test_a_constant_is_computed_through_a_codebook(save_graph):
    path = save_graph(
        [
            helper.make_node("Cast", ["i"], ["index"], to=TensorProto.INT64),
            helper.make_node("Gather", ["codes", "index"], ["w"]),
            helper.make_node("MatMul", ["input", "w"], ["output"]),
        ],
        inputs={"input": [1, 2]},
        outputs={"output": [1, 2]},
        constants={"i": np.uint8([[0, 1], [1, 0]]), "codes": np.float32([0.25, 0.5])},
    )
    network = read_network(path)
    np.testing.assert_array_equal(network.value("w"), [[0.25, 0.5], [0.5, 0.25]])
    assert network.sources("w") == ("codes", "i")


def test_dequantization_in_blocks_repeats_each_scale(save_graph):
    path = save_graph(
        [
            helper.make_node("DequantizeLinear", ["q", "s"], ["w"], axis=0, block_size=2),
            helper.make_node("MatMul", ["input", "w"], ["output"]),
        ],
        inputs={"input": [1, 4]},
        outputs={"output": [1, 1]},
        constants={"q": np.int8([[1], [2], [3], [4]]), "s": np.float32([[1], [10]])},
    )
    np.testing.assert_array_equal(read_network(path).value("w").ravel(), [1, 2, 30, 40])


@pytest.mark.parametrize(
    ("element_type", "size"),
    [(TensorProto.FLOAT, 60), (TensorProto.FLOAT16, 30), (TensorProto.UINT8, 15), (TensorProto.UINT4, 8)],
    ids=["float", "half", "byte", "packed nibbles"],
)
def test_bytes_of_a_tensor_of(element_type, size):
    assert TensorType(shape=(3, 5), element_type=element_type).size_bytes == size


@pytest.mark.parametrize("content", [b"", b"<html>not found</html>", b"version https://git-lfs.github.com/spec/v1\n"])
def test_what_is_not_onnx_is_refused_by_name(tmp_path, content):
    path = tmp_path / "päth.onnx"
    path.write_bytes(content)
    with pytest.raises(CheckpointError, match=r"päth\.onnx: it is .*not an ONNX file"):
        read_network(path)


def test_a_file_cut_short_is_refused(tmp_path, convolution):
    path = tmp_path / "cut.onnx"
    path.write_bytes(convolution.read_bytes()[:-40])
    with pytest.raises(CheckpointError, match="cut short"):
        read_network(path)


def test_a_domain_that_is_not_imported_is_refused_in_one_line(save_graph):
    path = save_graph(
        [helper.make_node("Mystery", ["input"], ["output"], "odd", domain="org.example")],
        inputs={"input": [1, 2]},
        outputs={"output": [1, 2]},
    )
    with pytest.raises(CheckpointError, match=r"Mystery 'odd' is of the domain 'org\.example'.*no opset") as caught:
        read_network(path)
    assert "\n" not in str(caught.value)


def test_a_graph_that_onnx_cannot_make_sense_of_is_refused_in_one_line(save_graph, monkeypatch):
    def refuse(*_given, **_settings):
        raise shape_inference.InferenceError("[ShapeInferenceError] first line\nsecond line")

    path = save_graph(
        [helper.make_node("Relu", ["input"], ["output"])], inputs={"input": [1, 2]}, outputs={"output": [1, 2]}
    )
    monkeypatch.setattr(shape_inference, "infer_shapes", refuse)
    with pytest.raises(CheckpointError, match=r"contradicts itself: \[ShapeInferenceError\] first line second line"):
        read_network(path)


def test_a_run_directory_means_its_model(convolution):
    assert find_onnx(convolution.parent) == convolution
    assert find_onnx(convolution) == convolution


def test_a_file_that_a_sealed_run_does_not_know_is_refused(tmp_path):
    (tmp_path / "model.onnx").write_bytes(b"as it was written")
    write_manifest(tmp_path, fingerprint={}, fields={})
    assert find_onnx(tmp_path) == tmp_path / "model.onnx"
    (tmp_path / "model.onnx").write_bytes(b"As it was written")
    with pytest.raises(CheckpointError, match="is not the file that the run was sealed with"):
        find_onnx(tmp_path)


def test_a_directory_without_a_model_is_refused(tmp_path):
    with pytest.raises(CheckpointError, match=r"holds no model\.onnx"):
        find_onnx(tmp_path)
    with pytest.raises(CheckpointError, match="no such file or directory"):
        find_onnx(tmp_path / "none.onnx")


def test_a_fixed_batch_is_counted_for_one(save_graph):
    path = save_graph(
        [helper.make_node("Relu", ["input"], ["output"])],
        inputs={"input": [8, 3]},
        outputs={"output": [8, 3]},
    )
    assert read_network(path).types["output"].shape == (1, 3)
