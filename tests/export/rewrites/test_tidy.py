import numpy as np
from onnx import helper

from tinyml.export.rewrites.tidy import remove_unused, strip_metadata


def test_stack_traces_and_documentation_are_stripped(hand_made):
    made = hand_made([helper.make_node("Relu", ["input"], ["output"], doc_string="why")])
    node = made.graph.node[0]
    node.metadata_props.add(key="pkg.torch.onnx.stack_trace", value="x" * 1000)
    made.graph.input[0].metadata_props.add(key="where", value="here")
    made.graph.value_info.append(helper.make_tensor_value_info("y", 1, [1]))
    assert made.outputs_kept_by(strip_metadata)
    assert b"stack_trace" not in made.model.SerializeToString()
    assert (node.doc_string, len(made.graph.value_info), len(made.graph.input[0].metadata_props)) == ("", 0, 0)


def test_nodes_are_named_by_operator_and_place(hand_made):
    made = hand_made([helper.make_node("Relu", ["input"], ["y"]), helper.make_node("Sin", ["y"], ["output"])])
    strip_metadata(made.graph)
    assert [node.name for node in made.graph.node] == ["Relu_0", "Sin_1"]


def test_what_nothing_reads_is_removed_with_what_only_it_read(hand_made):
    nodes = [
        helper.make_node("Add", ["input", "a"], ["unread"]),
        helper.make_node("Sin", ["unread"], ["unread_too"]),
        helper.make_node("Add", ["input", "b"], ["output"]),
    ]
    made = hand_made(nodes, {"a": np.ones(4, np.float32), "b": np.ones(4, np.float32)})
    assert made.outputs_kept_by(remove_unused)
    assert made.operators == ["Add"]
    assert [item.name for item in made.graph.initializer] == ["b"]
