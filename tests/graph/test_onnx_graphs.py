from onnx import GraphProto, helper

from tinyml.graph.onnx_graphs import graphs, subgraphs


def holding(name: str, *inner: GraphProto) -> GraphProto:
    ways = dict(zip(("else_branch", "then_branch"), inner, strict=False))
    return helper.make_graph([helper.make_node("If", ["c"], ["y"], **ways)], name, [], [])


def test_graphs_inside_graphs_are_found_behind_those_that_hold_them() -> None:
    main = holding("main", holding("a", holding("b")), holding("c"))
    assert [graph.name for graph in graphs(main)] == ["main", "a", "b", "c"]


def test_a_node_without_graphs_holds_none() -> None:
    assert subgraphs(helper.make_node("Relu", ["x"], ["y"], domain="")) == ()
    assert subgraphs(helper.make_node("Clip", ["x"], ["y"], ints=[1, 2], floats=[0.5])) == ()
