"""One file: it answers as the stages do, computes a branch only where it is wanted, and takes one example."""

from pathlib import Path

import numpy as np
import onnx
import pytest
from exit_models import FACTORIES, SHAPE, captured, images, outputs, tiny

from tinyml.errors import CheckpointError, TinymlError
from tinyml.export.exits import join_stages, split_stages
from tinyml.graph.onnx_graphs import graphs
from tinyml.measure.macs import count_macs
from tinyml.measure.network import read_network
from tinyml.numerics.exit_rules import NEVER, RULES, ExitRule
from tinyml.runtime.exit_policy import ExitPolicy
from tinyml.runtime.node_profile import profile_nodes
from tinyml.runtime.session import Session, open_session
from tinyml.runtime.staged import StagedNetwork

KINDS = pytest.mark.parametrize("int8", [False, True], ids=["float", "int8"])
X = images(40)


def policy(rule: ExitRule = "max_probability", *thresholds: float) -> ExitPolicy:
    return ExitPolicy(rule=rule, thresholds=thresholds or (0.6, 0.7), temperatures=(1.5, 0.8))


def joined(chosen: ExitPolicy, *, int8: bool = False) -> onnx.ModelProto:
    return join_stages(split_stages(tiny(int8=int8)), chosen)


def answers(session: Session, x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Logits and exits of examples that are given one by one."""
    found = [session.run(x[row : row + 1]) for row in range(len(x))]
    return np.concatenate([each["output"] for each in found]), np.concatenate([each["exit"] for each in found])


@KINDS
@pytest.mark.parametrize("rule", RULES)
def test_the_file_answers_as_the_stages(rule: ExitRule, int8: bool) -> None:
    chosen = policy(rule, 2, 2) if rule == "patience" else policy(rule, 0.35, 0.4)
    staged = StagedNetwork([stage.SerializeToString() for stage in split_stages(tiny(int8=int8))], chosen)
    wanted, exits = staged.run(X)
    logits, taken = answers(open_session(joined(chosen, int8=int8).SerializeToString()), X)
    assert len(set(exits)) > 1
    np.testing.assert_array_equal(taken, exits)
    np.testing.assert_allclose(logits, wanted, atol=1e-4 * np.ptp(wanted))


def test_an_example_leaves_where_its_probability_reaches_the_threshold() -> None:
    logits, taken = answers(open_session(joined(policy()).SerializeToString()), X)
    all_logits = np.stack(outputs(tiny(), X)).astype(np.float64)
    p = np.exp(all_logits[:2] / np.array([1.5, 0.8])[:, None, None])
    sure = (p / p.sum(axis=2, keepdims=True)).max(axis=2) >= np.array([[0.6], [0.7]])
    expected = np.where(sure[0], 0, np.where(sure[1], 1, 2))
    assert set(expected) == {0, 1, 2}
    np.testing.assert_array_equal(taken, expected)
    np.testing.assert_allclose(logits, all_logits[taken, np.arange(len(X))], atol=1e-5 * np.ptp(all_logits))


@pytest.mark.parametrize(("threshold", "layers"), [(0.0, 1), (NEVER, 3)], ids=["always", "never"])
def test_layers_behind_the_exit_that_is_taken_do_not_run(threshold: float, layers: int, tmp_path: Path) -> None:
    onnx.save(joined(policy("max_probability", threshold, threshold)), tmp_path / "model.onnx")
    ran = profile_nodes(tmp_path / "model.onnx", [X[:1]], runs=5).nodes
    assert sum(node.operator in ("Conv", "FusedConv") for node in ran) == layers


def test_integer_layers_stay_integer_inside_branches(tmp_path: Path) -> None:
    onnx.save(joined(policy("max_probability", NEVER, NEVER), int8=True), tmp_path / "model.onnx")
    ran = [node.operator for node in profile_nodes(tmp_path / "model.onnx", [X[:1]], runs=5).nodes]
    assert (ran.count("QLinearConv"), ran.count("Conv")) == (3, 0)


def test_a_branch_stores_what_it_reads() -> None:
    main, *branches = graphs(joined(policy(), int8=True).graph)
    stored = [{item.name for item in graph.initializer} for graph in branches if len(graph.initializer)]
    assert [f"layer{layer}.weight" in stored[layer - 1] for layer in (1, 2)] == [True, True]
    assert {"layer1.weight", "layer2.weight"}.isdisjoint(item.name for item in main.initializer)
    assert {"stage1.scale1", "stage1.zero"} <= stored[0]


def test_no_tensor_is_made_twice() -> None:
    made = [name for graph in graphs(joined(policy("entropy"), int8=True).graph)
            for name in (*(item.name for item in graph.initializer), *(o for node in graph.node for o in node.output))]  # fmt: skip
    assert len(made) == len(set(made))


def test_tensors_with_the_names_of_the_joint_are_renamed() -> None:
    model = tiny()
    for node in model.graph.node:
        for each in (node.input, node.output):
            each[:] = [{"conv1": "exit_0.leaves", "sum0": "threshold_0"}.get(name, name) for name in each]
    taken = [answers(open_session(join_stages(split_stages(each), policy()).SerializeToString()), X)[1]
             for each in (model, tiny())]  # fmt: skip
    np.testing.assert_array_equal(*taken)


def test_multiply_adds_count_from_the_first_exit_to_the_last(tmp_path: Path) -> None:
    onnx.save(joined(policy()), tmp_path / "model.onnx")
    count = count_macs(read_network(tmp_path / "model.onnx"))
    layer, head = 4 * 4 * 9 * 64, 4 * 3
    assert (count.best, count.worst, count.not_counted) == (layer + head, 3 * (layer + head), ())


def test_a_batch_is_refused_and_the_stages_named() -> None:
    session = open_session(joined(policy()).SerializeToString())
    with pytest.raises(
        CheckpointError, match=r"given a batch, float32 \(2, 4, 8, 8\).*one input at a time.*run_stages"
    ):
        session.run(X[:2])


def test_every_stage_but_the_last_wants_a_threshold() -> None:
    stages = split_stages(tiny())
    with pytest.raises(TinymlError, match="2 stages want 1 thresholds; there are 2"):
        join_stages(stages[:2], policy())


def test_exits_of_different_classes_are_refused() -> None:
    stages = split_stages(tiny())
    stages[1].graph.output[0].type.tensor_type.shape.dim[1].dim_value = 7
    with pytest.raises(TinymlError, match=r"all alike; here they are \[\[3\], \[7\], \[3\]\]"):
        join_stages(stages, policy())


@pytest.mark.slow
@KINDS
@pytest.mark.parametrize("name", FACTORIES)
def test_captured_networks_take_the_exits_of_their_outputs(name: str, int8: bool) -> None:
    model, x = captured(name, int8=int8), images(4, SHAPE)
    stages = split_stages(model)
    for thresholds in ((0.0, 0.0), (NEVER, 0.0), (NEVER, NEVER)):
        exit_taken = thresholds.count(NEVER)
        logits, taken = answers(open_session(join_stages(stages, policy("margin", *thresholds)).SerializeToString()), x)
        wanted = outputs(model, x)[exit_taken]
        assert set(taken) == {exit_taken}
        np.testing.assert_allclose(logits, wanted, atol=(0.05 if int8 else 1e-4) * np.ptp(wanted))
