import numpy as np
from onnx import defs, helper

from tinyml.export.rewrites.defaults import drop_default_attributes


def test_attributes_with_their_default_value_go_and_others_stay(hand_made):
    nodes = [
        helper.make_node("Conv", ["input", "w"], ["y"], group=1, auto_pad="NOTSET", pads=[1, 1], strides=[1]),
        helper.make_node("Softmax", ["y"], ["z"], axis=1),
        helper.make_node("LeakyRelu", ["z"], ["output"], alpha=0.01),
    ]
    made = hand_made(nodes, {"w": np.ones((2, 3, 3), np.float32)}, shape=("batch", 3, 8))
    assert made.outputs_kept_by(drop_default_attributes)
    kept = [[attribute.name for attribute in node.attribute] for node in made.graph.node]
    assert kept == [["pads", "strides"], ["axis"], []]


def test_operators_of_other_domains_are_left_alone(hand_made):
    made = hand_made([helper.make_node("Gelu", ["input"], ["output"], domain="com.microsoft", approximate="none")])
    drop_default_attributes(made.graph)
    assert len(made.graph.node[0].attribute) == 1


def test_no_default_has_changed_since_the_oldest_opset_of_a_target():
    defaults: dict[tuple[str, str], set[bytes]] = {}
    for schema in (each for each in defs.get_all_schemas_with_history() if not each.domain):
        if schema.since_version >= defs.get_schema(schema.name, 18 if defs.has(schema.name, 18) else 99).since_version:
            for name, attribute in schema.attributes.items():
                defaults.setdefault((schema.name, name), set()).add(attribute.default_value.SerializeToString())
    assert [names for names, values in defaults.items() if len(values) > 1] == [("GridSample", "mode")]
