import numpy as np
import pytest
from onnx import TensorProto, helper, save

from tinyml.errors import TinymlError
from tinyml.runtime.node_profile import original_names, profile_nodes, read_profile


def event(name, microseconds, **facts):
    return {"cat": "Node", "name": f"{name}_kernel_time", "dur": microseconds, "args": {"node_index": "0"} | facts}


def test_medians_leave_out_the_warm_up():
    events = [event("conv", time, op_name="Conv", provider="P") for time in (900, 20, 40, 30)]
    events.append({"cat": "Session", "name": "model_run", "dur": 50})
    profile = read_profile(events, warm_up=1, source="x")
    (node,) = profile.nodes
    assert (node.name, node.operator, node.provider, node.median_ms, node.runs) == ("conv", "Conv", "P", 0.03, 3)
    assert profile.run_ms == 0.05


def test_nodes_without_a_name_are_kept_apart():
    events = [event("", 10, node_index="1"), event("", 20, node_index="2")]
    assert [node.median_ms for node in read_profile(events, warm_up=0, source="x").nodes] == [0.01, 0.02]


def test_an_empty_profile_is_an_error():
    with pytest.raises(TinymlError, match="holds no nodes"):
        read_profile([{"cat": "Session", "name": "model_run", "dur": 1}], warm_up=0, source="x")


@pytest.mark.parametrize(
    ("name", "origin"),
    [
        ("conv", "conv"),
        ("relu_nchwc", "relu"),
        ("conv_token_12", "conv"),
        ("conv_nhwc_token_3", "conv"),
        ("matmul/MatMulAddFusion", "matmul"),
    ],
)
def test_the_runtimes_endings_are_taken_off(name, origin):
    assert original_names(name)[-1] == origin
    assert original_names(name)[0] == name


def test_a_real_network_is_profiled_and_leaves_nothing_behind(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    graph = helper.make_graph(
        [helper.make_node("Sin", ["input"], ["output"], "wave")], "graph",
        [helper.make_tensor_value_info("input", TensorProto.FLOAT, [1, 8])],
        [helper.make_tensor_value_info("output", TensorProto.FLOAT, [1, 8])],
    )  # fmt: skip
    path = tmp_path / "model.onnx"
    save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 21)], ir_version=10), path)
    profile = profile_nodes(path, [np.zeros((1, 8), np.float32)], runs=5)
    assert [(node.name, node.operator, node.runs) for node in profile.nodes] == [("wave", "Sin", 5)]
    assert list(tmp_path.iterdir()) == [path]


def test_a_branch_is_told_by_its_nodes_and_not_once_more_by_its_if():
    events = [event("choose", 90, op_name="If", node_index="1"), event("conv", 80, op_name="Conv", node_index="2")]
    assert [node.name for node in read_profile(events, warm_up=0, source="x").nodes] == ["conv"]
