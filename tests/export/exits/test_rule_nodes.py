"""The rules in ONNX's operators, computed by onnx's own reference."""

import numpy as np
import pytest
from onnx import TensorProto, helper
from onnx.reference import ReferenceEvaluator

from tinyml.export.exits.rule_nodes import Decision, policy_constants
from tinyml.numerics.exit_rules import ExitRule, confidence
from tinyml.runtime.exit_policy import ExitPolicy

P = np.array([0.5, 0.3, 0.2])
ENTROPY = 1 + (P * np.log(P)).sum() / np.log(3)


def leaves(rule: ExitRule, logits: list[list[float]], thresholds: tuple[float, ...]) -> list[bool]:
    """What is decided about one example, exit by exit; temperature 2."""
    decisions: list[Decision] = []
    for index in range(len(logits)):
        before = decisions[-1] if decisions else None
        decisions.append(Decision(rule, exit_index=index, logits=f"z{index}", classes=3, before=before))
    policy = ExitPolicy(rule=rule, thresholds=thresholds, temperatures=(2.0,) * len(thresholds))
    graph = helper.make_graph(
        [node for each in decisions for node in each.nodes],
        "rule",
        [helper.make_tensor_value_info(f"z{index}", TensorProto.FLOAT, [1, 3]) for index in range(len(logits))],
        [helper.make_tensor_value_info(each.leaves, TensorProto.BOOL, None) for each in decisions],
        [tensor for each in decisions for tensor in each.constants] + policy_constants(policy),
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 21)], ir_version=10)
    given = {f"z{index}": np.array([row], np.float32) for index, row in enumerate(logits)}
    return [bool(np.all(value)) for value in ReferenceEvaluator(model).run(None, given)]


@pytest.mark.parametrize(
    ("rule", "value"),
    [("max_probability", 0.5), ("margin", 0.2), ("entropy", ENTROPY)],
    ids=["largest", "margin", "entropy"],
)
def test_an_example_leaves_from_its_confidence_on(rule: ExitRule, value: float) -> None:
    logits = list(2 * np.log(P))  # at temperature 2 their softmax is P
    assert leaves(rule, [logits], (value - 1e-4,)) == [True]
    assert leaves(rule, [logits], (value + 1e-4,)) == [False]
    assert confidence(rule, np.array([logits], np.float32), 2.0)[0] == pytest.approx(value, abs=1e-6)  # type: ignore[arg-type]  # not patience


def test_patience_counts_equal_answers_in_a_row() -> None:
    first, second = [9.0, 0.0, 0.0], [0.0, 9.0, 0.0]
    assert leaves("patience", [first, second, second, second], (2, 2, 2, 3)) == [False, False, True, True]


def test_patience_of_one_leaves_at_once() -> None:
    assert leaves("patience", [[0.0, 1.0, 2.0]], (1,)) == [True]
