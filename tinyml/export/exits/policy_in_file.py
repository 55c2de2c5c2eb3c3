"""The policy of a one-file network with exits: read it, and change its thresholds."""

from collections.abc import Mapping
from dataclasses import replace
from itertools import count, takewhile

import onnx
from onnx import numpy_helper

from tinyml.errors import TargetError
from tinyml.export.exits.rule_nodes import TEMPERATURE, THRESHOLD, policy_constants
from tinyml.numerics.exit_rules import RULES
from tinyml.runtime.exit_policy import RULE_KEY, ExitPolicy


def exit_policy(model: onnx.ModelProto) -> ExitPolicy:
    """Return the rule, thresholds and temperatures of a file that `join_stages` made, to float32's seven digits.

    Raises:
        TargetError: it is no such file.
    """
    written = {item.key: item.value for item in model.metadata_props}
    rule = next((rule for rule in RULES if rule == written.get(RULE_KEY)), None)
    stored = {item.name: item for item in model.graph.initializer if not item.dims}
    exits = list(takewhile(lambda index: _names(index) <= stored.keys(), count()))
    if rule is None or not exits:
        raise TargetError(
            f"this file is not one with exits that tinyml joined: its metadata have no {RULE_KEY}, or it stores no "
            f"{THRESHOLD}_0 beside {TEMPERATURE}_0."
        )
    return ExitPolicy(
        rule=rule,
        thresholds=tuple(_number(stored[f"{THRESHOLD}_{index}"]) for index in exits),
        temperatures=tuple(_number(stored[f"{TEMPERATURE}_{index}"]) for index in exits),
    )


def _names(exit_index: int) -> set[str]:
    return {f"{THRESHOLD}_{exit_index}", f"{TEMPERATURE}_{exit_index}"}


def _number(stored: onnx.TensorProto) -> float:
    return float(f"{float(numpy_helper.to_array(stored)):.7g}")


def set_thresholds(model: onnx.ModelProto, thresholds: Mapping[int, float]) -> onnx.ModelProto:
    """Return a copy of a one-file network whose exits, counted from 0, have these thresholds; others keep theirs.

    Raises:
        TargetError: the file has no exits, or not these.
        RecipeError: a threshold is out of the rule's range.
    """
    before = exit_policy(model)
    if strange := sorted(set(thresholds).difference(range(len(before.thresholds)))):
        raise TargetError(
            f"there is no threshold of exit {strange[0]}: this file has those of exits 0 to "
            f"{len(before.thresholds) - 1}; whoever comes to the last exit leaves there."
        )
    kept = enumerate(before.thresholds)
    after = replace(before, thresholds=tuple(thresholds.get(index, threshold) for index, threshold in kept))
    changed = onnx.ModelProto()
    changed.CopyFrom(model)
    new = {item.name: item for item in policy_constants(after)}
    for item in changed.graph.initializer:
        if item.name in new:
            item.CopyFrom(new[item.name])
    return changed
