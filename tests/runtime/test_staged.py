"""Stages on batches: each example for itself, in the order that it came."""

from functools import cache

import numpy as np
import pytest
from exit_models import images, outputs, tiny

from tinyml.errors import CheckpointError
from tinyml.export.exits import split_stages
from tinyml.numerics.exit_rules import NEVER, RULES, ExitRule, confidences, exits_taken
from tinyml.runtime.exit_policy import ExitPolicy
from tinyml.runtime.session import StageSession
from tinyml.runtime.staged import StagedNetwork

X = images(60)


@cache
def stages() -> tuple[bytes, ...]:
    return tuple(stage.SerializeToString() for stage in split_stages(tiny()))


def network(rule: ExitRule = "max_probability", *thresholds: float) -> StagedNetwork:
    default = (2.0, 2.0) if rule == "patience" else (0.6, 0.7)
    return StagedNetwork(stages(), ExitPolicy(rule=rule, thresholds=thresholds or default, temperatures=(1.5, 0.8)))


@pytest.mark.parametrize("rule", RULES)
def test_every_example_takes_the_exit_that_its_logits_say(rule: ExitRule) -> None:
    runner = network(rule)
    logits, exits = runner.run(X)
    every = np.stack(outputs(tiny(), X))
    expected = exits_taken(confidences(rule, every, (1.5, 0.8)), runner.policy.thresholds)
    assert len(set(expected)) > 1
    np.testing.assert_array_equal(exits, expected)
    np.testing.assert_allclose(logits, every[exits, np.arange(len(X))], atol=1e-5 * np.ptp(every))


def test_a_stage_computes_only_those_that_stayed(monkeypatch: pytest.MonkeyPatch) -> None:
    sizes: list[int] = []
    run = StageSession.run

    def counted(self: StageSession, values: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
        sizes.append(len(values[self.inputs[0]]))
        return run(self, values)

    monkeypatch.setattr(StageSession, "run", counted)
    _, exits = network().run(X)
    assert sizes == [60, (exits > 0).sum(), (exits > 1).sum()]
    assert sizes[0] > sizes[1] > sizes[2] > 0


def test_neighbours_change_nothing() -> None:
    logits, exits = network().run(X)
    alone = [network().run(X[row : row + 1]) for row in range(6)]
    np.testing.assert_array_equal([int(taken[0]) for _, taken in alone], exits[:6])
    np.testing.assert_allclose([own[0] for own, _ in alone], logits[:6], atol=1e-5 * np.ptp(logits))


@pytest.mark.parametrize(("threshold", "taken"), [(0.0, 0), (NEVER, 2)], ids=["all at once", "none"])
def test_the_ends_of_the_range(threshold: float, taken: int) -> None:
    logits, exits = network("entropy", threshold, threshold).run(X)
    assert set(exits) == {taken}
    np.testing.assert_allclose(logits, outputs(tiny(), X)[taken], rtol=1e-5, atol=1e-5)


def test_stages_out_of_order_are_refused() -> None:
    policy = network().policy
    with pytest.raises(CheckpointError, match="it reads 'sum1', which no stage before it gives"):
        StagedNetwork([stages()[0], stages()[2], stages()[1]], policy)


def test_a_stage_too_few_is_refused() -> None:
    with pytest.raises(CheckpointError, match="2 stages with 2 thresholds; every stage but the last has one"):
        StagedNetwork(stages()[:2], network().policy)


def test_an_input_of_another_shape_is_refused_with_what_is_taken() -> None:
    with pytest.raises(CheckpointError, match=r"'input' float32 \(2, 4, 9, 8, 1\) failed; it takes 'input' tensor"):
        network().run(np.zeros((2, 4, 9, 8, 1), np.float32))
