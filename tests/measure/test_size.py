import gzip

import numpy as np
import onnx
from onnx import helper

from tinyml.measure.network import read_network
from tinyml.measure.size import shipped_files, size_bytes, size_gzip_bytes


def test_the_size_is_that_of_the_file(convolution):
    content = convolution.read_bytes()
    assert size_bytes(read_network(convolution)).value == len(content)
    assert size_gzip_bytes(read_network(convolution)).value == len(gzip.compress(content, 9, mtime=0))


def test_external_data_is_part_of_the_size(save_graph, tmp_path):
    path = save_graph(
        [helper.make_node("MatMul", ["input", "w"], ["output"])],
        inputs={"input": [1, 64]}, outputs={"output": [1, 64]}, constants={"w": np.ones((64, 64), np.float32)},
    )  # fmt: skip
    onnx.save(onnx.load(path), tmp_path / "split.onnx", save_as_external_data=True, location="weights.bin")
    whole = size_bytes(read_network(tmp_path / "split.onnx"))
    assert shipped_files(tmp_path / "split.onnx") == (tmp_path / "split.onnx", tmp_path / "weights.bin")
    assert whole.value == (tmp_path / "split.onnx").stat().st_size + 64 * 64 * 4
    assert whole.details["files"] == 2
