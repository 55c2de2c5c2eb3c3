"""Checks of a network with exits, each passed and failed."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import pytest
from exit_models import images, outputs, tiny, write_stages

from tinyml.export.exits import join_stages, split_stages
from tinyml.export.exits.policy_in_file import set_thresholds
from tinyml.runtime.exit_policy import ExitPolicy
from tinyml.runtime.staged import open_staged
from tinyml.verification import Verification, verify_file
from tinyml.verification.agreement import Reference
from tinyml.verification.exits import ExitAnswers, same_exit_check, stages_check
from tinyml.verification.layer_by_layer import LAYER_BY_LAYER

POLICY = ExitPolicy(rule="max_probability", thresholds=(0.6, 0.7), temperatures=(1.5, 0.8))
X = images(100)


@pytest.fixture(params=[False, True], ids=["float", "int8"])
def network(request: pytest.FixtureRequest) -> onnx.ModelProto:
    return tiny(int8=request.param)


def verified(network: onnx.ModelProto, folder: Path, shipped: onnx.ModelProto | None = None) -> Verification:
    """Check a file and its stages against the network's own answers; `shipped` replaces the joined file."""
    stages = split_stages(network)
    (folder / "stages").mkdir()
    write_stages(folder / "stages", stages, POLICY)
    onnx.save(shipped or join_stages(stages, POLICY), folder / "model.onnx")
    exits = ExitAnswers(policy=POLICY, logits=np.stack(outputs(network, X)))
    reference = Reference(inputs=X, outputs=exits.chosen, real=True, classification=True, exits=exits)
    return verify_file(folder / "model.onnx", reference=reference, target=None, stages=folder / "stages")


def outcomes(verification: Verification) -> dict[str, str]:
    return {check.name: check.outcome for check in verification.checks}


def test_a_sound_file_passes_every_check(network: onnx.ModelProto, tmp_path: Path) -> None:
    found = outcomes(verified(network, tmp_path))
    names = {"same exit as the torch model", "stages answer as the file", "same answer as the torch model"}
    assert [name for name in names if found[name] != "passed"] == []
    assert "failed" not in found.values()


def test_integer_layers_of_all_stages_are_tried(tmp_path: Path) -> None:
    check = next(each for each in verified(tiny(int8=True), tmp_path).checks if each.name == LAYER_BY_LAYER)
    assert check.value.startswith("3 of 3 layers")
    assert check.outcome == "passed"


def test_a_file_with_other_thresholds_leaves_elsewhere_and_is_told(network: onnx.ModelProto, tmp_path: Path) -> None:
    joined = join_stages(split_stages(network), POLICY)
    found = outcomes(verified(network, tmp_path, set_thresholds(joined, {0: 0.0})))
    assert found["same exit as the torch model"] == found["stages answer as the file"] == "failed"
    assert found["largest difference"] != "failed"  # its numbers are right, exit for exit


def test_a_confidence_beside_a_threshold_may_fall_to_either_side() -> None:
    logits = np.log(np.array([[[0.6, 0.4], [0.8, 0.2]], [[0.5, 0.5], [0.5, 0.5]]], np.float32))
    answers = ExitAnswers(policy=replace(POLICY, thresholds=(0.600001,), temperatures=(1.0,)), logits=logits)
    assert answers.taken.tolist() == [1, 0]
    near, far = (same_exit_check(answers, np.array(taken), bound=0.98, rounded=False) for taken in ([0, 0], [1, 1]))
    assert (near.outcome, far.outcome) == ("passed", "failed")
    assert far.value == "50.00% of 2, 1 differ beyond rounding"


@pytest.mark.parametrize(
    ("otherwise", "rounded", "outcome"),
    [
        pytest.param(0, False, "passed", id="all alike"),
        pytest.param(1, False, "failed", id="one otherwise"),
        pytest.param(2, True, "passed", id="few otherwise, of rounded numbers"),
        pytest.param(3, True, "failed", id="many otherwise"),
    ],
)
def test_stages_of_rounded_numbers_may_answer_few_otherwise(
    otherwise: int, rounded: bool, outcome: str, tmp_path: Path
) -> None:
    write_stages(tmp_path, split_stages(tiny()), POLICY)
    logits, taken = open_staged(tmp_path).run(X)
    logits[:otherwise] += 0.01 * np.ptp(logits)
    check = stages_check(tmp_path, X, logits, taken, rounded=rounded, provider="CPUExecutionProvider", threads=1)
    assert check.outcome == outcome
    assert (f"{otherwise} answer otherwise" in check.value) == bool(otherwise)


def test_patience_counts_so_that_rounding_excuses_nothing() -> None:
    logits = np.eye(2, dtype=np.float32)[np.array([[0, 0], [0, 1], [0, 1]])]  # the first example agrees, the second not
    policy = ExitPolicy(rule="patience", thresholds=(2.0, 2.0), temperatures=(1.0, 1.0))
    answers = ExitAnswers(policy=policy, logits=logits)
    assert answers.taken.tolist() == [1, 2]
    found = same_exit_check(answers, np.array([2, 2]), bound=0.98, rounded=False)
    assert (found.outcome, found.value) == ("failed", "50.00% of 2, 1 differ beyond rounding")


def test_rounded_numbers_may_leave_elsewhere_now_and_then() -> None:
    logits = np.zeros((2, 50, 2), np.float32)
    answers = ExitAnswers(policy=replace(POLICY, thresholds=(0.4,), temperatures=(1.0,)), logits=logits)
    taken = [np.arange(50) < elsewhere for elsewhere in (1, 2)]
    checks = [same_exit_check(answers, each.astype(np.int64), bound=0.98, rounded=True) for each in taken]
    assert [check.outcome for check in checks] == ["passed", "failed"]
